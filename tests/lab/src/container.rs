//! A container as far as a program can tell: a root of its own that is read-only, the mounts and the capabilities that a DaemonSet gives,
//! and nothing else of the machine. It never limits time or memory, and devices only by not being there.

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{chdir, chroot};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a container gives its program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Capabilities, without `CAP_`, in capitals.
    pub capabilities: Vec<String>,
    /// Paths of the host that it sees.
    pub mounts: Vec<Mount>,
    /// Names and values of its environment, beside `PATH`.
    pub environment: Vec<(String, String)>,
    /// What the program is told.
    pub args: Vec<String>,
}

/// A path of the host in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The host's path.
    pub from: PathBuf,
    /// The container's.
    pub to: PathBuf,
    /// Nothing can be changed there.
    pub read_only: bool,
    /// What the host mounts below it later is seen.
    pub follows: bool,
}

/// Devices of every container.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const NOTHING: Option<&str> = None;

impl Container {
    /// Becomes `command` inside. The network namespace stays the caller's, as on the host's network.
    ///
    /// # Errors
    /// A part of it cannot be set up, or the program cannot be started.
    pub fn become_command(&self, command: &[OsString]) -> Result<()> {
        let [program, args @ ..] = command else {
            bail!("no command was given")
        };
        unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace; this needs root (CAP_SYS_ADMIN)")?;
        // Mounts of the host keep arriving, those in here do not leave.
        flags("/", MsFlags::MS_SLAVE | MsFlags::MS_REC)?;
        let root = Path::new("/mnt");
        mount(Some("tmpfs"), root, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
            .context("cannot mount a root")?;
        self.fill(root, Path::new(program))?;
        chroot(root).context("cannot change the root")?;
        chdir("/").context("cannot enter the root")?;
        // What the kernel gives without its being asked for; runtimes may give more.
        for (resource, most) in [(Resource::RLIMIT_MEMLOCK, 8 << 20), (Resource::RLIMIT_RTPRIO, 0)] {
            setrlimit(resource, most, most).context("cannot limit resources")?;
        }
        let names = self.capabilities.iter();
        let bounding = names.fold("-all".to_owned(), |all, name| format!("{all},+{}", name.to_lowercase()));
        let error = Command::new("/usr/bin/setpriv")
            .args([
                "--inh-caps",
                "-all",
                "--ambient-caps",
                "-all",
                "--bounding-set",
                &bounding,
                "/program",
            ])
            .args(args)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(std::env::vars().filter(|(name, _)| name == "SLUICE_TESTING"))
            .exec();
        Err(error).context("cannot start setpriv (util-linux)")
    }

    fn fill(&self, root: &Path, program: &Path) -> Result<()> {
        let at = |path: &str| root.join(path.trim_start_matches('/'));
        // The image: programs and libraries.
        show(Path::new("/usr"), &at("usr"), true, false)?;
        for name in ["bin", "lib", "lib64", "sbin"] {
            let host = Path::new("/").join(name);
            match fs::read_link(&host) {
                Ok(target) => symlink(target, at(name))?,
                Err(_) if host.is_dir() => show(&host, &at(name), true, false)?,
                Err(_) => {}
            }
        }
        show(program, &at("program"), true, false)?;
        // As in Debian's images; runtimes name pods' namespaces by the old path.
        fs::create_dir_all(at("var"))?;
        symlink("/run", at("var/run"))?;
        // What a runtime gives everybody.
        show(Path::new("/proc"), &at("proc"), false, false)?;
        show(Path::new("/proc/sys"), &at("proc/sys"), true, false)?;
        show(Path::new("/sys"), &at("sys"), true, false)?;
        for name in DEVICES {
            show(&Path::new("/dev").join(name), &at("dev").join(name), false, false)?;
        }
        for mount in &self.mounts {
            let to = root.join(mount.to.strip_prefix("/").context("a mount's path is not absolute")?);
            show(&mount.from, &to, mount.read_only, mount.follows)?;
        }
        flags(root, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY)
    }
}

/// Binds `from` to `to`, which is made if it can be. Only what follows is seen with the mounts below it.
fn show(from: &Path, to: &Path, read_only: bool, follows: bool) -> Result<()> {
    let about = || format!("cannot show {} at {}", from.display(), to.display());
    if !to.exists() {
        let parent = to.parent().context("no parent")?;
        fs::create_dir_all(parent).with_context(about)?;
        if from.is_dir() {
            fs::create_dir(to).with_context(about)?;
        } else {
            fs::File::create(to).with_context(about)?;
        }
    }
    let deep = if follows { MsFlags::MS_REC } else { MsFlags::empty() };
    mount(Some(from), to, NOTHING, MsFlags::MS_BIND | deep, NOTHING).with_context(about)?;
    if !follows {
        flags(to, MsFlags::MS_PRIVATE)?;
    }
    if read_only {
        flags(to, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY)?;
    }
    Ok(())
}

fn flags(at: impl AsRef<Path>, flags: MsFlags) -> Result<()> {
    let at = at.as_ref();
    mount(NOTHING, at, NOTHING, flags, NOTHING).with_context(|| format!("cannot change the mount {}", at.display()))
}
