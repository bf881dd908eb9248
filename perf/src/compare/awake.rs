//! Keeps processors from falling asleep, the same way for all peers: waking one costs a request more than all networking does. It never
//! takes time that anybody else wants: its loops run at the scheduler's idle priority.

use anyhow::{Context, Result};
use std::process::{Child, Command, Stdio};

/// As long as this lives, no processor sleeps.
pub(super) struct Awake(Vec<Child>);

impl Awake {
    /// One loop for each processor.
    pub(super) fn keep() -> Result<Self> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let mut awake = Self(Vec::new());
        for cpu in 0..cpus {
            // They end with this program, however it ends.
            let words = ["--pdeathsig", "KILL", "chrt", "--idle", "0", "taskset", "--cpu-list"];
            let child = Command::new("setpriv")
                .args(words)
                .arg(cpu.to_string())
                .args(["sh", "-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .context("cannot keep processors awake: setpriv, chrt and taskset are needed (util-linux)")?;
            awake.0.push(child);
        }
        Ok(awake)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
