//! Carries out a plan: namespaces first, then its steps. It never decides what is in them.

use crate::ns;
use crate::plan::{Step, Tool};
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Does what `step` says inside the namespace `name`.
pub(crate) fn carry_out(step: &Step, name: &str) -> Result<()> {
    if step.lines.is_empty() {
        return Ok(());
    }
    ns::within(name, || match step.tool {
        Tool::Sysctl => step.lines.iter().try_for_each(|line| sysctl(line)),
        Tool::Ip => feed("ip", &["-batch", "-"], &step.lines),
        Tool::Bridge => feed("bridge", &["-batch", "-"], &step.lines),
        Tool::Nft => feed("nft", &["-f", "-"], &step.lines),
        Tool::Ethtool => step.lines.iter().try_for_each(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            feed("ethtool", &words, &[])
        }),
    })
    .with_context(|| format!("setting up {}", step.place))
}

/// Returns once every cable in the namespace `name` is up at both ends: until then the kernel drops what is sent, and a
/// first packet that is lost costs a second.
pub(crate) fn wait_for_cables(name: &str, deadline: Duration) -> Result<()> {
    let end = Instant::now() + deadline;
    ns::within(name, || {
        loop {
            let links = Command::new("ip")
                .args(["-json", "link", "show", "type", "veth"])
                .output()?;
            let links: Vec<serde_json::Value> = serde_json::from_slice(&links.stdout).unwrap_or_default();
            let Some(down) = links.iter().find(|l| l["ifname"].is_string() && l["operstate"] != "UP") else {
                return Ok(());
            };
            if Instant::now() > end {
                bail!(
                    "{name}: {} is still {} after {deadline:?}",
                    down["ifname"],
                    down["operstate"]
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    })
}

/// Keys of a protocol that the kernel was built without are skipped.
fn sysctl(line: &str) -> Result<()> {
    let (key, value) = line.split_once(' ').context("a sysctl line without a value")?;
    match std::fs::write(format!("/proc/sys/{key}"), value) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).with_context(|| format!("sysctl {key} = {value}")),
        _ => Ok(()),
    }
}

fn feed(program: &str, args: &[&str], lines: &[String]) -> Result<()> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{program}`; `make demo` installs what the lab needs"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that stops at a bad line closes the pipe; its own words say more than the broken pipe.
        let _ = stdin.write_all((lines.join("\n") + "\n").as_bytes());
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said
        .rsplit("-:")
        .next()
        .and_then(|n| n.trim().parse::<usize>().ok())
        .and_then(|n| lines.get(n - 1));
    match line {
        Some(line) => bail!("`{program} {line}`: {}", said.trim()),
        None => bail!("`{program} {}`: {}", args.join(" "), said.trim()),
    }
}
