//! Runs a program on valgrind's simulated processor and reads how many instructions the timed path took. What comes before and after is not
//! counted, so neither setup nor the number of packets matters.

use super::Cost;
use super::child::Child;
use crate::measure::PATH;
use crate::report::files;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A valgrind that is there.
pub(super) struct Callgrind {
    program: PathBuf,
}

impl Callgrind {
    pub(super) fn find() -> Result<Self> {
        let asked = Command::new("valgrind").arg("--version").output();
        let there = asked.is_ok_and(|output| output.status.success());
        ensure!(
            there,
            "valgrind is missing, and it counts the instructions; apt-get install valgrind"
        );
        let program = std::env::current_exe().context("the path of this program")?;
        Ok(Self { program })
    }

    /// Instructions a packet; the profile is left in the folder of reports, for `callgrind_annotate`.
    pub(super) fn count(&self, child: &Child) -> Result<Cost> {
        let profile = files::folder_of("callgrind")?.join(child.file_name());
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--collect-atstart=no"])
            .arg(format!("--toggle-collect=*{PATH}*"))
            .arg(argument("--callgrind-out-file=", &profile))
            .arg(&self.program)
            .args(child.args())
            .stdin(Stdio::null())
            .output()
            .context("valgrind could not be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let last: Vec<&str> = said.lines().filter(|line| !line.starts_with("==")).collect();
            let why = if last.is_empty() {
                said.trim().to_owned()
            } else {
                last.join("\n")
            };
            bail!("the program failed on valgrind's processor ({}): {why}", output.status);
        }
        let packets: u64 = String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .context("the program did not say how many packets passed")?;
        let text = fs::read_to_string(&profile).with_context(|| profile.display().to_string())?;
        let total = total(&text).with_context(|| format!("{}: no instruction was counted", profile.display()))?;
        Ok(Cost {
            // A tenth of an instruction is more than can be told.
            instructions: (10.0 * total as f64 / packets as f64).round() / 10.0,
        })
    }
}

fn argument(name: &str, path: &Path) -> std::ffi::OsString {
    // Valgrind takes a percent sign for a place to fill in.
    let path = path.to_string_lossy().replace('%', "%%");
    format!("{name}{path}").into()
}

/// The sum of a profile's first event, which is instructions; `None` if it is missing or zero.
pub(super) fn total(profile: &str) -> Option<u64> {
    let sum = |line: &str| {
        line.strip_prefix("totals:")
            .or_else(|| line.strip_prefix("summary:"))?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    };
    profile.lines().rev().find_map(sum).filter(|total| *total > 0)
}
