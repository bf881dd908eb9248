//! What the commands of the Makefile say and do, without doing it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A machine as `tests/prepare.sh` is to see it: programs that take the place of the real ones.
struct Machine(PathBuf);

impl Machine {
    /// Root, with everything installed and able to do everything.
    fn whole(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("sluice-house-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let machine = Self(dir);
        machine.program("id", "echo 0");
        machine.program("uname", "echo 6.12.1-amd64");
        machine.program("rustc", "echo rustc 99.0.0");
        machine.program("cargo", "true");
        machine.program("dpkg-query", "echo install ok installed");
        machine.program("unshare", "true");
        machine.program("modprobe", "true");
        machine.program("apt-get", "echo apt-get was called; exit 1");
        machine.program(
            "grep",
            r#"case "$*" in *XDP*|*bpf*) exit 0;; *) exec /bin/grep "$@";; esac"#,
        );
        machine.builtin("true");
        machine
    }

    fn program(&self, name: &str, does: &str) {
        let path = self.0.join(name);
        fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What `[ -c ... ]` does.
    fn builtin(&self, does: &str) {
        let text = format!("[() {{ if test \"$1\" = -c; then {does}; else builtin [ \"$@\"; fi; }}\n");
        fs::write(self.0.join("functions"), text).unwrap();
    }

    /// Whether it may go on, and the lines it says.
    fn prepare(&self, purpose: &str) -> (bool, Vec<String>) {
        let output = Command::new("/bin/bash")
            .args(["tests/prepare.sh", purpose])
            .current_dir(ROOT)
            .env("PATH", format!("{}:/usr/bin:/bin", self.0.display()))
            .env("BASH_ENV", self.0.join("functions"))
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), said.lines().map(str::to_owned).collect())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_a_machine_lacks_is_said_in_one_line_each() {
    let machine = Machine::whole("lacks");
    assert_eq!(machine.prepare("demo"), (true, vec![]), "a machine that lacks nothing");
    let lacks = |what: &str, words: &[&str]| {
        let (goes_on, said) = machine.prepare("demo");
        assert!(!goes_on && said.len() == 1, "{what}: {said:#?}");
        for word in words {
            assert!(
                said[0].starts_with("prepare: ") && said[0].contains(word),
                "{what}: {said:?}"
            );
        }
    };
    machine.program("id", "echo 1000");
    lacks("root", &["run this as root", "sudo", "make demo"]);
    machine.program("id", "echo 0");
    machine.program("uname", "echo 5.10.0-amd64");
    lacks("kernel", &["Linux 5.10.0-amd64 is too old", "6.1"]);
    machine.program("uname", "echo 6.12.1-amd64");
    machine.program(
        "grep",
        r#"case "$*" in *XDP*) exit 1;; *bpf*) exit 0;; *) exec /bin/grep "$@";; esac"#,
    );
    lacks("AF_XDP", &["no AF_XDP sockets", "CONFIG_XDP_SOCKETS"]);
    machine.program(
        "grep",
        r#"case "$*" in *XDP*|*bpf*) exit 0;; *) exec /bin/grep "$@";; esac"#,
    );
    machine.builtin("false");
    lacks("tap", &["/dev/net/tun is missing", "CONFIG_TUN"]);
    machine.builtin("true");
    machine.program("unshare", "exit 1");
    lacks("namespaces", &["network namespaces cannot be created", "CONFIG_NET_NS"]);
    machine.program("unshare", "true");
    machine.program("rustc", "echo rustc 1.0.0");
    lacks("a new Rust", &["Rust 1.0.0 is too old", "rustup update"]);
    machine.program("rustc", "exit 1");
    lacks("Rust", &["Rust is missing", "rustup.rs"]);
}

#[test]
fn who_counts_instructions_needs_valgrind_and_neither_root_nor_a_lab() {
    let machine = Machine::whole("counts");
    machine.program("id", "echo 1000");
    machine.program("unshare", "exit 1");
    assert_eq!(machine.prepare("count"), (true, vec![]));
    machine.program(
        "dpkg-query",
        r#"case "$*" in *valgrind*) exit 1;; *) echo install ok installed;; esac"#,
    );
    let (goes_on, said) = machine.prepare("count");
    assert!(!goes_on && said.len() == 1 && said[0].contains("valgrind"), "{said:?}");
    assert_eq!(machine.prepare("build"), (true, vec![]));
}

#[test]
fn instructions_are_checked_unless_they_are_to_be_the_new_baseline() {
    let last = |update: &str| {
        let output = Command::new("make")
            .args(["-n", "--no-print-directory", "instructions", update])
            .current_dir(ROOT)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines().last().unwrap_or_default().trim_end().to_owned()
    };
    assert!(
        last("UPDATE=1").ends_with(" instructions --update"),
        "{}",
        last("UPDATE=1")
    );
    assert!(
        last("UPDATE=no").ends_with(" instructions --check"),
        "{}",
        last("UPDATE=no")
    );
}

#[test]
fn keep_leaves_the_demo_up_unless_it_says_no() {
    let runs = |keep: &str| {
        let output = Command::new("make")
            .args(["-n", "--no-print-directory", "demo", keep])
            .current_dir(ROOT)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let line = said
            .lines()
            .find(|line| line.contains("sluice-lab demo"))
            .unwrap_or_else(|| panic!("{said}"));
        line.trim_end().to_owned()
    };
    assert!(runs("KEEP=1").ends_with("demo --keep"));
    for no in ["KEEP=", "KEEP=0", "KEEP=no"] {
        assert!(runs(no).ends_with("sluice-lab demo"), "{no}: {}", runs(no));
    }
}
