//! Decides how the ports for masquerading are kept from the host's own sockets: `net.ipv4.ip_local_reserved_ports`,
//! with what others reserved left as it is.

use super::netns::NetnsId;
use super::sysctl;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const NAME: &str = "ipv4/ip_local_reserved_ports";

/// A set of ports, read and written as the kernel does: `80,1000-2000`.
#[derive(Clone, PartialEq, Eq)]
struct PortSet(Box<[bool; 65536]>);

impl PortSet {
    fn empty() -> Self {
        Self(Box::new([false; 65536]))
    }

    fn range(first: u16, last: u16) -> Self {
        let mut set = Self::empty();
        for port in first..=last {
            set.0[usize::from(port)] = true;
        }
        set
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut set = Self::empty();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| {
                text.parse::<u16>()
                    .map_err(|_| format!("`{part}` is no port and no range of ports"))
            };
            for port in number(first)?..=number(last)? {
                set.0[usize::from(port)] = true;
            }
        }
        Ok(set)
    }

    fn zip(&self, other: &Self, rule: impl Fn(bool, bool) -> bool) -> Self {
        let mut out = Self::empty();
        for ((out, a), b) in out.0.iter_mut().zip(self.0.iter()).zip(other.0.iter()) {
            *out = rule(*a, *b);
        }
        out
    }

    fn with(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a || b)
    }

    fn without(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a && !b)
    }
}

impl std::fmt::Display for PortSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut comma = "";
        let mut port = 0;
        while port < self.0.len() {
            if !self.0[port] {
                port += 1;
                continue;
            }
            let first = port;
            while port < self.0.len() && self.0[port] {
                port += 1;
            }
            if first == port - 1 {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{}", port - 1)?;
            }
            comma = ",";
        }
        Ok(())
    }
}

impl std::fmt::Debug for PortSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// What was added by us, so that it can be taken back by a later run too. Of no worth after a reboot or in another
/// namespace.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    boot: String,
    netns: NetnsId,
    added: String,
}

/// The reservation, until [`Reserved::release`].
pub struct Reserved {
    file: PathBuf,
    added: PortSet,
}

impl Reserved {
    /// Reserves `first..=last` beside what is reserved already, and remembers in `state_dir` what was added.
    ///
    /// # Errors
    /// The parameter or the file cannot be read or written.
    pub fn take(state_dir: &Path, (first, last): (u16, u16)) -> Result<Self, String> {
        let file = state_dir.join("reserved-ports.json");
        let (boot, netns) = (boot_id()?, NetnsId::current()?);
        let before = std::fs::read(&file)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
        let before = before.filter(|record| record.boot == boot && record.netns == netns);
        let ours = before
            .and_then(|record| PortSet::parse(&record.added).ok())
            .unwrap_or_else(PortSet::empty);
        let others = current()?.without(&ours);
        let range = PortSet::range(first, last);
        let added = range.without(&others);
        let record = Record {
            boot,
            netns,
            added: added.to_string(),
        };
        let bytes = serde_json::to_vec(&record).map_err(|err| format!("cannot write {}: {err}", file.display()))?;
        crate::attach::write_atomically(&file, &bytes)?;
        sysctl::write(NAME, &others.with(&range).to_string())?;
        Ok(Self { file, added })
    }

    /// Takes back what was added; what others reserved meanwhile stays.
    ///
    /// # Errors
    /// The parameter cannot be read or written.
    pub fn release(self) -> Result<(), String> {
        sysctl::write(NAME, &current()?.without(&self.added).to_string())?;
        let _ = std::fs::remove_file(&self.file);
        Ok(())
    }
}

fn current() -> Result<PortSet, String> {
    let text = sysctl::read(NAME)?.unwrap_or_default();
    PortSet::parse(&text).map_err(|err| format!("net.ipv4.ip_local_reserved_ports is not understood: {err}"))
}

/// Changes with each boot.
pub(crate) fn boot_id() -> Result<String, String> {
    let path = "/proc/sys/kernel/random/boot_id";
    std::fs::read_to_string(path)
        .map(|id| id.trim().to_owned())
        .map_err(|err| format!("cannot read {path}: {err}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn edges_and_nonsense() {
        assert_eq!(PortSet::parse("0,65535").unwrap().to_string(), "0,65535");
        assert_eq!(PortSet::parse("").unwrap().to_string(), "");
        assert_eq!(PortSet::parse("8080,9148,1-3\n").unwrap().to_string(), "1-3,8080,9148");
        assert!(PortSet::parse("80-").is_err() && PortSet::parse("65536").is_err() && PortSet::parse("x").is_err());
        assert_eq!(PortSet::range(40000, 65535).to_string(), "40000-65535");
    }

    proptest! {
        #[test]
        fn taking_and_releasing_leaves_what_others_reserved(
            others in proptest::collection::vec(any::<u16>(), 0..20),
            later in proptest::collection::vec(any::<u16>(), 0..5),
            first in any::<u16>(), span in 0u16..30000,
        ) {
            let set = |ports: &[u16]| ports.iter().fold(PortSet::empty(), |set, p| set.with(&PortSet::range(*p, *p)));
            let others = set(&others);
            let range = PortSet::range(first, first.saturating_add(span));
            let added = range.without(&others);
            let later = set(&later).without(&added);
            let now = others.with(&range).with(&later);
            prop_assert_eq!(&PortSet::parse(&now.to_string()).unwrap(), &now);
            prop_assert_eq!(now.without(&added), others.with(&later));
        }
    }
}
