//! What the own Node should say, so that other nodes, flannel's among them, find this one and pods are placed here.

use super::control::Control;
use crate::compile::Underlay;
use crate::model::{NodeRecord, Vtep};
use crate::objects::annotations;
use crate::source::Announcement;
use sluice_snapshot::Node;
use sluice_wire::Addr;

impl Control {
    /// Asks for the own Node to say what it does not say yet.
    pub(super) fn announce(&self) {
        let node = &self.publisher.current().parts.node;
        let wanted = self
            .store
            .node(&self.settings.compile.node_name)
            .zip(self.underlay.as_ref());
        let wanted = wanted.and_then(|(record, underlay)| lacking(record, node, underlay, self.steered.is_some()));
        self.source().announce(wanted);
    }
}

/// What `record` should say and does not: how packets reach the node, and, once it `serves`, that they do.
fn lacking(record: &NodeRecord, node: &Node, underlay: &Underlay, serves: bool) -> Option<Announcement> {
    let here = |addr: &Addr| underlay.addresses.iter().any(|(_, own)| own == addr);
    let public = |announced: Option<Addr>, v4: bool| {
        let internal = record
            .internal_ips
            .iter()
            .copied()
            .find(|addr| addr.is_v4() == v4 && here(addr));
        announced.filter(here).or(internal)
    };
    let (public_v4, public_v6) = (
        public(record.vtep.public_v4, true),
        public(record.vtep.public_v6, false),
    );
    if public_v4.is_none() && public_v6.is_none() {
        // Nobody would find anything there.
        return None;
    }
    let vtep = Vtep {
        backend: Some("vxlan".to_owned()),
        public_v4,
        public_v6,
        mac_v4: public_v4.map(|_| node.vtep_mac_v4),
        mac_v6: public_v6.map(|_| node.vtep_mac_v6),
        vni: Some(node.vni.get()),
        managed: true,
    };
    let available = serves && record.network_unavailable != Some(false);
    (record.vtep != vtep || available).then(|| Announcement {
        node: record.name.clone(),
        annotations: annotations(&vtep),
        available,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Uplink;
    use crate::run::empty_parts;

    fn addr(text: &str) -> Addr {
        Addr::from(text.parse::<std::net::IpAddr>().unwrap())
    }

    fn underlay() -> Underlay {
        Underlay {
            addresses: vec![(2, addr("192.0.2.7")), (2, addr("2001:db8::7"))],
            uplink: Uplink::default(),
            ..Underlay::default()
        }
    }

    fn record(addresses: &[&str]) -> NodeRecord {
        NodeRecord {
            name: "a".into(),
            internal_ips: addresses.iter().map(|text| addr(text)).collect(),
            ..NodeRecord::default()
        }
    }

    #[test]
    fn a_node_says_where_it_is_once_and_that_it_serves_when_it_does() {
        let node = empty_parts().node;
        let mut record = record(&["198.51.100.1", "192.0.2.7"]);
        let first = lacking(&record, &node, &underlay(), false).unwrap();
        assert!(!first.available);
        assert_eq!(
            first.annotations["flannel.alpha.coreos.com/public-ip"], "192.0.2.7",
            "the one that is here"
        );
        assert!(!first.annotations.contains_key("flannel.alpha.coreos.com/public-ipv6"));
        record.vtep = Vtep {
            backend: Some("vxlan".into()),
            public_v4: Some(addr("192.0.2.7")),
            mac_v4: Some(node.vtep_mac_v4),
            vni: Some(node.vni.get()),
            managed: true,
            ..Vtep::default()
        };
        assert_eq!(lacking(&record, &node, &underlay(), false), None, "it is all said");
        assert!(lacking(&record, &node, &underlay(), true).unwrap().available);
        record.network_unavailable = Some(false);
        assert_eq!(lacking(&record, &node, &underlay(), true), None);
        record.network_unavailable = Some(true);
        assert!(lacking(&record, &node, &underlay(), true).unwrap().available);
    }

    #[test]
    fn both_families_are_said_and_an_address_that_is_not_here_is_not() {
        let node = empty_parts().node;
        let both = lacking(&record(&["192.0.2.7", "2001:db8::7"]), &node, &underlay(), false).unwrap();
        assert_eq!(both.annotations.len(), 6);
        assert_eq!(lacking(&record(&["198.51.100.1"]), &node, &underlay(), false), None);
        let mut moved = record(&["192.0.2.7"]);
        moved.vtep.public_v4 = Some(addr("198.51.100.9"));
        let said = lacking(&moved, &node, &underlay(), false).unwrap();
        assert_eq!(said.annotations["flannel.alpha.coreos.com/public-ip"], "192.0.2.7");
    }
}
