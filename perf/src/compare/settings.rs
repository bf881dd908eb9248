//! What figures depend on and nobody sees in them: settings of the machine and of peers, set alike for all where they can be, and told. It
//! never sets what belongs to the machine.

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use serde::Serialize;
use std::fmt;
use std::os::fd::AsFd;

/// What TCP does about congestion at both ends, for all peers: the kernel's own default, whatever the machine's is.
pub(super) const CONGESTION: &str = "cubic";

/// A setting of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Setting {
    name: String,
    value: String,
    /// What it is where nobody sets it.
    usual: String,
}

impl Setting {
    pub(super) fn new(name: &str, value: &str, usual: &str) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            usual: usual.into(),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.value)?;
        if self.value != self.usual {
            write!(f, " (usually {})", self.usual)?;
        }
        Ok(())
    }
}

/// Sets it for a socket, before it listens or connects; what it accepts has it too. A namespace may only have what the machine allows all its users.
pub(super) fn control_congestion(socket: &impl AsFd) -> Result<()> {
    setsockopt(socket, sockopt::TcpCongestion, &CONGESTION.into())
        .with_context(|| format!("the kernel has no congestion control {CONGESTION}; is its module missing?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unusual_is_told_with_what_is_usual() {
        let said = |value| Setting::new("key", value, "30").to_string();
        assert_eq!(said("300"), "key 300 (usually 30)");
        assert_eq!(said("30"), "key 30");
    }
}
