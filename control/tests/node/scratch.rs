//! Network namespaces that go with the test: nothing but a descriptor keeps them.

use nix::sched::{CloneFlags, unshare};
use sluice_control::kernel::netns;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A network namespace; gone when dropped, also on panic.
pub(crate) struct Netns {
    file: File,
}

impl Netns {
    pub(crate) fn new() -> Self {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests make network namespaces: run them as root");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let netns = Self {
            file: made.join().unwrap(),
        };
        netns.ip("link set lo up");
        netns
    }

    /// Where it is reached, as long as this value lives.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// Runs work inside.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netns::within(&self.path(), || Ok(work())).unwrap()
    }

    /// Runs async work inside.
    pub(crate) fn run_async<T: Send, F: Future<Output = T>>(&self, work: impl FnOnce() -> F + Send) -> T {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async { work().await })
        })
    }

    /// `ip <words>` inside; its output.
    pub(crate) fn ip(&self, words: &str) -> String {
        self.run(|| ip(words))
    }
}

/// `ip <words>` where the caller is.
pub(crate) fn ip(words: &str) -> String {
    let out = Command::new("ip")
        .args(words.split_whitespace())
        .output()
        .expect("these tests need iproute2");
    assert!(
        out.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

/// Two namespaces with a wire between them: `up0` (192.0.2.1/24, 2001:db8::1/64) here and there `up0` (.2, ::2).
pub(crate) fn pair() -> (Netns, Netns) {
    let (a, b) = (Netns::new(), Netns::new());
    let there = b.path();
    a.ip("link add up0 type veth peer name up1");
    a.run(|| {
        let out = Command::new("ip")
            .args(["link", "set", "up1", "name", "up0", "netns"])
            .arg(&there)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    });
    for (netns, last) in [(&a, 1), (&b, 2)] {
        netns.ip(&format!("addr add 192.0.2.{last}/24 dev up0"));
        netns.ip(&format!("addr add 2001:db8::{last}/64 dev up0 nodad"));
        netns.ip("link set up0 up");
    }
    (a, b)
}

/// Calls `look` until it gives something, for five seconds.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within five seconds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
