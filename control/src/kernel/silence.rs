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
    /// At its IPv4 addresses.
    pub v4: FamilyPorts,
    /// At its IPv6 addresses.
    pub v6: FamilyPorts,
}

/// The same of one family, as first and last ports of ranges, in order and joined where they touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FamilyPorts {
    /// Of TCP: node ports of this family, and ports for masquerading.
    pub tcp: Vec<(u16, u16)>,
    /// Of UDP: the same, and that of tunnels.
    pub udp: Vec<(u16, u16)>,
}

impl FamilyPorts {
    /// Of single ports, in any order.
    pub fn new(tcp: impl IntoIterator<Item = u16>, udp: impl IntoIterator<Item = u16>) -> Self {
        Self {
            tcp: joined(tcp.into_iter().collect()),
            udp: joined(udp.into_iter().collect()),
        }
    }
}

fn joined(mut ports: Vec<u16>) -> Vec<(u16, u16)> {
    ports.sort_unstable();
    let mut out: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match out.last_mut() {
            Some((_, last)) if port <= last.saturating_add(1) => *last = port,
            _ => out.push((port, port)),
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
    // Protocol and destination port in the quoted packet lie behind 8 bytes of ICMP and a header without options.
    for (ports, family, error, proto_at, port_at) in [
        (&ports.v4, "ipv4", "icmp", 8 + 9, 8 + 20 + 2),
        (&ports.v6, "ipv6", "icmpv6", 8 + 6, 8 + 40 + 2),
    ] {
        if !ports.tcp.is_empty() {
            let ports = set(&ports.tcp);
            let _ = writeln!(
                text,
                "  meta nfproto {family} tcp flags & rst == rst tcp sport {ports} drop"
            );
        }
        if !ports.udp.is_empty() {
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
        fn ports_join_to_the_same_ports(ports in prop::collection::vec(prop_oneof![0u16..60, 65_500..=u16::MAX], 0..60)) {
            let joined = joined(ports.clone());
            let in_ranges: Vec<_> = joined.iter().flat_map(|(first, last)| *first..=*last).collect();
            let ports: Vec<_> = std::collections::BTreeSet::from_iter(ports).into_iter().collect();
            prop_assert_eq!(in_ranges, ports);
            prop_assert!(joined.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{joined:?}");
        }
    }

    #[test]
    fn a_port_is_silent_in_its_family_only_and_without_ports_there_are_no_rules() {
        let text = rules(&SilentPorts {
            v4: FamilyPorts::new([30080], []),
            v6: FamilyPorts::new([], [30053]),
        });
        let drops: Vec<_> = text
            .lines()
            .filter(|line| line.contains("drop"))
            .map(str::trim)
            .collect();
        assert_eq!(
            drops,
            [
                "meta nfproto ipv4 tcp flags & rst == rst tcp sport { 30080 } drop",
                "icmpv6 type destination-unreachable icmpv6 code port-unreachable @th,112,8 17 @th,400,16 { 30053 } drop",
            ]
        );
        assert!(!rules(&SilentPorts::default()).contains("drop"));
    }
}
