//! What the own Node should say, so that other nodes, flannel's among them, find this one and pods are placed here.

use super::control::Control;
use crate::compile::Underlay;
use crate::model::{NodeRecord, Vtep};
use crate::objects::annotations;
use crate::source::Announcement;
use sluice_snapshot::Node;
use sluice_wire::Addr;
use std::net::IpAddr;

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
    let spoken = |v4: bool| {
        underlay
            .addresses
            .iter()
            .any(|(_, own)| own.is_v4() == v4 && !is_link_local(own))
    };
    let public = |announced: Option<Addr>, v4: bool| {
        let overwrite = if v4 { &record.overwrite_v4 } else { &record.overwrite_v6 };
        if let Some(Ok(addr)) = overwrite
            && spoken(v4)
        {
            return Some(*addr);
        }
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

fn is_link_local(addr: &Addr) -> bool {
    match addr.to_ip() {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
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

    #[test]
    fn an_address_that_overwrites_is_said_though_no_interface_has_it() {
        let node = empty_parts().node;
        let mut record = record(&["192.0.2.7"]);
        record.overwrite_v4 = Some(Ok(addr("203.0.113.7")));
        record.overwrite_v6 = Some(Err("nonsense".into()));
        let said = lacking(&record, &node, &underlay(), false).unwrap().annotations;
        assert_eq!(said["flannel.alpha.coreos.com/public-ip"], "203.0.113.7");
        assert!(!said.contains_key("flannel.alpha.coreos.com/public-ipv6"));
        record.vtep.public_v4 = Some(addr("203.0.113.7"));
        record.vtep.backend = Some("vxlan".into());
        (record.vtep.mac_v4, record.vtep.vni) = (Some(node.vtep_mac_v4), Some(node.vni.get()));
        record.vtep.managed = true;
        assert_eq!(lacking(&record, &node, &underlay(), false), None, "it is said");
        // Taken away, the node's own address is back; and without a network of that family nothing is said of it.
        record.overwrite_v4 = None;
        let said = lacking(&record, &node, &underlay(), false).unwrap().annotations;
        assert_eq!(said["flannel.alpha.coreos.com/public-ip"], "192.0.2.7");
        record.overwrite_v6 = Some(Ok(addr("2001:db8:9::7")));
        let only_v4 = Underlay {
            addresses: vec![(2, addr("192.0.2.7")), (2, addr("fe80::7"))],
            ..Underlay::default()
        };
        let said = lacking(&record, &node, &only_v4, false).unwrap().annotations;
        assert!(!said.contains_key("flannel.alpha.coreos.com/public-ipv6"));
    }
}
