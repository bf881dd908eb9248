//! A network namespace that goes with its thread, also after a panic.

use nix::sched::{CloneFlags, unshare};
use sluice_io::netns::within;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;

pub(super) struct Namespace {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    pub(super) tid: i32,
}

impl Namespace {
    pub(super) fn new() -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let made = unshare(CloneFlags::CLONE_NEWNET).map(|()| nix::unistd::gettid().as_raw());
            tell.send(made).unwrap();
            // Until the other end is dropped.
            let _ = stopped.recv();
        });
        let tid = told.recv().unwrap().unwrap_or_else(|err| {
            panic!("this test needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF): cannot unshare the network: {err}")
        });
        let namespace = Self {
            stop: Some(stop),
            thread: Some(thread),
            tid,
        };
        // Interfaces made from here on send nothing of their own accord.
        namespace.write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        namespace
    }

    /// Sets a variable of the kernel inside.
    #[track_caller]
    pub(super) fn write(&self, path: &str, value: &str) {
        within(Some(&self.path()), || std::fs::write(path, value))
            .unwrap()
            .unwrap();
    }

    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/task/{}/ns/net", self.tid).into()
    }

    /// `ip <args>` inside.
    #[track_caller]
    pub(super) fn ip(&self, args: &str) {
        let run = || Command::new("ip").args(args.split_whitespace()).output();
        let output = within(Some(&self.path()), run).unwrap().unwrap();
        assert!(
            output.status.success(),
            "ip {args}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
