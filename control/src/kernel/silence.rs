//! Decides what this node's kernel does not say: that it knows nothing of a connection that is ours. It never drops what comes
//! in, so no program of the node is cut off from anything.
//!
//! What is ours reaches the kernel's own stack where the uplink's program does not see it: through another interface, or put
//! together from fragments. Having no socket for it, the kernel answers with a reset or with port unreachable, which ends the
//! connection. The rules that swallow these answers are a table of their own in nftables (`inet sluice`), and like the program
//! they outlive the agent.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};

const TABLE: &str = "inet sluice";

/// Ports of this node at which the kernel keeps silent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SilentPorts {
    /// First and last TCP ports: node ports, and those for masquerading.
    pub tcp: Vec<(u16, u16)>,
    /// First and last UDP ports: the same, and that of tunnels.
    pub udp: Vec<(u16, u16)>,
}

impl SilentPorts {
    /// Single ports and ranges, in order, and joined where they touch.
    pub fn new(tcp: impl IntoIterator<Item = (u16, u16)>, udp: impl IntoIterator<Item = (u16, u16)>) -> Self {
        Self {
            tcp: joined(tcp.into_iter().collect()),
            udp: joined(udp.into_iter().collect()),
        }
    }
}

fn joined(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut out: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges {
        match out.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => out.push((first, last)),
        }
    }
    out
}

/// The rules, as they were last set.
#[derive(Debug, Default)]
pub struct Silence {
    tried: Option<SilentPorts>,
    /// Why they could not be set.
    missing: Option<String>,
    stale: bool,
}

impl Silence {
    /// Brings the table to `ports`, in one step. Does nothing when that was tried already.
    pub async fn apply(&mut self, ports: &SilentPorts) {
        if self.tried.as_ref() == Some(ports) && !std::mem::take(&mut self.stale) {
            return;
        }
        let failed = run(rules(ports)).await.err();
        if let Some(text) = failed.as_ref().filter(|_| failed != self.missing) {
            tracing::warn!("{text}");
        }
        (self.tried, self.missing) = (Some(ports.clone()), failed);
    }

    /// The next [`Self::apply`] sets them again, in case somebody took them away.
    pub fn recheck(&mut self) {
        self.stale = true;
    }

    /// What is missing without the rules, for a person.
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// Takes the table away, if this agent set it.
    ///
    /// # Errors
    /// nftables refuses.
    pub async fn remove(&mut self) -> Result<(), String> {
        if self.tried.take().is_none() {
            return Ok(());
        }
        match run(format!("add table {TABLE}\ndelete table {TABLE}\n")).await {
            // What could not be set need not be removable.
            Err(_) if self.missing.take().is_some() => Ok(()),
            done => done,
        }
    }
}

/// One transaction, whatever is there. Answers to programs of this very node are let through: they have nothing that the
/// next agent could take up, and had better be told.
fn rules(ports: &SilentPorts) -> String {
    let mut text = format!(
        "add table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n comment \"what the kernel does not answer in place of sluice\"\n \
         chain answers {{\n  type filter hook output priority filter; policy accept;\n  oifname {{ \"lo\", \"sluice0\" }} accept\n"
    );
    if !ports.tcp.is_empty() {
        let _ = writeln!(text, "  tcp flags & rst == rst tcp sport {} drop", set(&ports.tcp));
    }
    if !ports.udp.is_empty() {
        // Protocol and destination port in the quoted packet, behind 8 bytes of ICMP and a header without options.
        for (error, proto_at, port_at) in [("icmp", 8 + 9, 8 + 20 + 2), ("icmpv6", 8 + 6, 8 + 40 + 2)] {
            let _ = writeln!(
                text,
                "  {error} type destination-unreachable {error} code port-unreachable @th,{},8 17 @th,{},16 {} drop",
                proto_at * 8,
                port_at * 8,
                set(&ports.udp)
            );
        }
    }
    text + " }\n}\n"
}

fn set(ranges: &[(u16, u16)]) -> String {
    let one = |(first, last): &(u16, u16)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    format!("{{ {} }}", ranges.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// As [`nft`], while the loop goes on with nothing else, so that things stay in their order.
async fn run(script: String) -> Result<(), String> {
    tokio::task::spawn_blocking(move || nft(&script))
        .await
        .unwrap_or_else(|_| Err("setting rules panicked; please report this".into()))
}

/// Runs a script in the network namespace that the thread is in.
fn nft(script: &str) -> Result<(), String> {
    const WITHOUT: &str = "without its rules the kernel may reset connections to node ports and of masqueraded pods whose packets \
                           come in by another interface than the uplink";
    let failed = |what: String| format!("nftables: {what}; {WITHOUT}");
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|err| {
            failed(if err.kind() == ErrorKind::NotFound {
                "the program nft is not installed".to_owned()
            } else {
                format!("cannot run nft: {err}")
            })
        })?;
    let written = child
        .stdin
        .take()
        .map_or(Ok(()), |mut stdin| stdin.write_all(script.as_bytes()));
    let output = child.wait_with_output().map_err(|err| failed(format!("nft: {err}")))?;
    if output.status.success() {
        return written.map_err(|err| failed(format!("cannot speak to nft: {err}")));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!(
        "nft says: {}",
        said.lines().next().unwrap_or("nothing").trim()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_join_to_the_same_ports(ranges in prop::collection::vec((0u16..60, 0u16..8), 0..20)) {
            let ranges: Vec<_> = ranges.into_iter().map(|(first, more)| (first, first + more)).collect();
            let ports = |of: &[(u16, u16)]| (0..=u16::MAX).filter(|p| of.iter().any(|(a, b)| (a..=b).contains(&p))).collect::<Vec<_>>();
            let joined = joined(ranges.clone());
            prop_assert_eq!(ports(&joined), ports(&ranges));
            prop_assert!(joined.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{joined:?}");
        }
    }

    #[test]
    fn the_ends_of_the_range_of_ports_are_ports() {
        assert_eq!(
            joined(vec![(65535, 65535), (0, 0), (65000, 65535)]),
            [(0, 0), (65000, 65535)]
        );
    }

    #[test]
    fn without_ports_there_are_no_rules_for_them() {
        let text = rules(&SilentPorts::new([(30080, 30080)], []));
        assert!(
            text.contains("tcp sport { 30080 } drop") && !text.contains("icmp"),
            "{text}"
        );
        assert!(!rules(&SilentPorts::default()).contains("drop"));
    }
}
