//! What was measured on: processor, kernel, commit.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::process::Command;

/// Unknown facts are `unknown`, as a figure without its machine is still a figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    /// As the kernel says, which virtual machines are told once; what the clock was is measured.
    pub(crate) mhz: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) commit: String,
}

impl Machine {
    /// The one that this runs on.
    pub(crate) fn this() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpu: field(&info, "model name"),
            mhz: field(&info, "cpu MHz"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: known(kernel.trim()),
            commit: commit(),
        }
    }

    pub(crate) fn line(&self) -> String {
        let cores = if self.cores == 1 { "core" } else { "cores" };
        format!(
            "machine: {}, {} {cores}, Linux {}; commit {}",
            self.cpu, self.cores, self.kernel, self.commit
        )
    }
}

/// The commit that is checked out where this was built; `make bench` builds what is there.
fn commit() -> String {
    let asked = Command::new("git")
        .args([
            "-C",
            env!("CARGO_MANIFEST_DIR"),
            "describe",
            "--always",
            "--dirty",
            "--abbrev=10",
        ])
        .output();
    let said = asked.ok().filter(|output| output.status.success());
    known(
        said.and_then(|o| String::from_utf8(o.stdout).ok())
            .unwrap_or_default()
            .trim(),
    )
}

/// How much memory this process has, touched or not, shared or not.
pub(crate) fn process_bytes() -> Result<u64> {
    process_status("VmSize")
}

/// The most memory of this process that was ever resident at once.
pub(crate) fn process_peak() -> Result<u64> {
    process_status("VmHWM")
}

fn process_status(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let data = field(&status, name);
    let kibibytes = data.strip_suffix(" kB").and_then(|kib| kib.trim().parse::<u64>().ok());
    Ok(1024 * kibibytes.with_context(|| format!("/proc/self/status: {name} is {data:?}, not a number of kB"))?)
}

/// The first value of a field of a file like /proc/cpuinfo.
fn field(info: &str, name: &str) -> String {
    let mut pairs = info.lines().filter_map(|line| line.split_once(':'));
    let value = pairs
        .find(|(key, _)| key.trim() == name)
        .map_or("", |(_, value)| value.trim());
    known(value)
}

fn known(text: &str) -> String {
    if text.is_empty() { "unknown".into() } else { text.into() }
}
