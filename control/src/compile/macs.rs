//! Decides MACs that nobody assigned. They are the same after a restart and on every node that derives them, and never a vendor's.

use sluice_wire::{MacAddr, stable_hash};

/// What a derived MAC is for; different uses of one name get different MACs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Use {
    /// Answers pods' ARP and NDP.
    Gateway = 1,
    /// Receives inner frames of IPv4 outer packets.
    VtepV4 = 2,
    /// Receives inner frames of IPv6 outer packets.
    VtepV6 = 3,
}

/// A locally administered unicast MAC from a node's name.
pub(super) fn derived(node: &str, use_: Use) -> MacAddr {
    let mut words = vec![use_ as u64, node.len() as u64];
    for chunk in node.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        words.push(u64::from_be_bytes(word));
    }
    let [a, b, c, d, e, f, ..] = stable_hash(&words).to_be_bytes();
    MacAddr([(a & 0xfe) | 0x02, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_macs_are_stable_local_and_distinct() {
        let macs: Vec<MacAddr> = ["node-a", "node-b", "node-a-with-a-longer-name"]
            .iter()
            .flat_map(|name| [Use::Gateway, Use::VtepV4, Use::VtepV6].map(|u| derived(name, u)))
            .collect();
        for (i, mac) in macs.iter().enumerate() {
            assert_eq!(mac.0[0] & 3, 2, "{mac}");
            assert!(!macs[..i].contains(mac), "{mac}");
        }
        // Peers derive it as well, also those of another release.
        assert_eq!(derived("node-a", Use::VtepV4).to_string(), "be:17:bf:3f:80:e8");
    }
}
