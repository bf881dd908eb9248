//! What is served before there is anything to serve.

use sluice_snapshot::{Node, Parts, Prefixes};
use sluice_wire::{MacAddr, PortSlot, Vni};
use std::sync::Arc;

/// Parts without ports, routes, services and policies: every packet is dropped. For the first snapshot of a
/// [`sluice_snapshot::Publisher`].
pub fn empty_parts() -> Parts {
    /// In an empty port table every slot is.
    const NO_PORT: PortSlot = PortSlot(u16::MAX);
    let Some(vni) = Vni::new(0) else {
        unreachable!("0 has fewer than 24 bits")
    };
    Parts {
        node: Arc::new(Node {
            name: String::new(),
            vni,
            tunnel_port: 0,
            gateway_mac: MacAddr::default(),
            vtep_mac_v4: MacAddr::default(),
            vtep_mac_v6: MacAddr::default(),
            addresses: Default::default(),
            base_v4: None,
            base_v6: None,
            outside_v4: None,
            outside_v6: None,
            cluster_prefixes: Prefixes::default(),
            service_prefixes: Prefixes::default(),
            host_port: NO_PORT,
            uplink_port: NO_PORT,
            masquerade_ports: (0, 0),
        }),
        ports: Arc::default(),
        forwarding: Arc::default(),
        services: Arc::default(),
        policies: Arc::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_policy::Addresses;
    use sluice_snapshot::{Moved, Policies, Snapshot};
    use sluice_wire::{Addr, Identity};

    #[test]
    fn what_moved_is_believed_only_of_the_generation_that_it_is_said_of() {
        let belongs_to = |id| Arc::new(Addresses::from_iter([(Addr::v4([10, 0, 0, 1]), Identity(id))]));
        let (one, two, other) = (belongs_to(1), belongs_to(2), belongs_to(3));
        let parts = |identities: &Arc<Addresses>, from: &Arc<Addresses>| {
            let mut parts = empty_parts();
            parts.policies = Arc::new(Policies {
                identities: Arc::clone(identities),
                moved: Some(Moved {
                    from: Arc::downgrade(from),
                    addrs: [].into(),
                }),
                ..Policies::default()
            });
            parts
        };
        let first = Snapshot::first(parts(&one, &one));
        assert!(
            first.successor(parts(&two, &other)).is_some(),
            "the address is another's"
        );
        assert!(
            first.successor(parts(&two, &one)).is_none(),
            "nothing moved, as it says"
        );
    }
}
