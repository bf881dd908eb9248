//! Decides what a Node object and flannel's annotations on it say about reaching the node. It never chooses between addresses.

use super::fault::{Faults, FieldPath};
use super::parts::{Meta, annotation_path, block, host_addr, shown};
use crate::model::{NodeRecord, Vtep};
use serde::{Deserialize, Serialize};
use sluice_snapshot::Prefix;
use sluice_wire::{Addr, MacAddr};
use std::collections::BTreeMap;

const FLANNEL: &str = "flannel.alpha.coreos.com/";
/// What the cluster autoscaler puts on a node that it is about to remove (KEP-3836).
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Node {
    pub(super) metadata: Meta,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(rename = "podCIDR")]
    pod_cidr: String,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    taints: Vec<Taint>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Taint {
    key: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    addresses: Vec<Address>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    r#type: String,
    status: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Address {
    r#type: String,
    address: String,
}

/// What flannel writes into `backend-data`; host-gw writes `null`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BackendData {
    #[serde(rename = "VNI", alias = "vni")]
    vni: Option<u32>,
    #[serde(rename = "VtepMAC", alias = "vtepMAC")]
    vtep_mac: Option<String>,
}

pub(super) fn convert(node: Node, faults: &mut Faults) -> NodeRecord {
    let vtep = vtep(&node.metadata, faults);
    let mut prefixes = Vec::new();
    let list = FieldPath::of(&["spec", "podCIDRs"]);
    for (i, text) in node.spec.pod_cidrs.iter().enumerate() {
        prefixes.extend(pod_range(list.index(i), text, faults));
    }
    if node.spec.pod_cidrs.is_empty() && !node.spec.pod_cidr.is_empty() {
        prefixes.extend(pod_range(
            FieldPath::of(&["spec", "podCIDR"]),
            &node.spec.pod_cidr,
            faults,
        ));
    }
    prefixes.dedup();
    let addresses = FieldPath::of(&["status", "addresses"]);
    let internal = node
        .status
        .addresses
        .iter()
        .enumerate()
        .filter(|(_, a)| a.r#type == "InternalIP");
    let internal_ips = internal
        .filter_map(|(i, a)| faults.take(addresses.index(i).key("address"), host_addr(&a.address)))
        .collect();
    let mut conditions = node.status.conditions.iter();
    let condition = conditions.find(|condition| condition.r#type == "NetworkUnavailable");
    let removed = node.spec.taints.iter().any(|taint| taint.key == TO_BE_DELETED);
    NodeRecord {
        leaving: removed || node.metadata.deletion_timestamp.is_some(),
        network_unavailable: condition.map(|condition| condition.status != "False"),
        overwrite_v4: overwrite(&node.metadata, "public-ip-overwrite", true),
        overwrite_v6: overwrite(&node.metadata, "public-ipv6-overwrite", false),
        uplink: node
            .metadata
            .annotation("sluice.io/uplink")
            .filter(|name| !name.is_empty())
            .map(|name| name[..name.floor_char_boundary(64)].to_owned()),
        name: node.metadata.name,
        prefixes,
        internal_ips,
        vtep,
    }
}

fn pod_range(path: FieldPath, text: &str, faults: &mut Faults) -> Option<Prefix> {
    let (addr, len) = faults.take(path.clone(), block(text))?;
    if len == 0 || addr.is_multicast_or_broadcast() {
        faults.whole(
            path,
            format!("{text} is no range for pods; want one like 10.244.1.0/24 or fd00:244:1::/64"),
        );
        return None;
    }
    Prefix::new(addr, len)
}

fn vtep(meta: &Meta, faults: &mut Faults) -> Vtep {
    let v4 = backend_data(meta, "backend-data", faults);
    let v6 = backend_data(meta, "backend-v6-data", faults);
    Vtep {
        backend: meta.annotation(&format!("{FLANNEL}backend-type")).map(str::to_owned),
        public_v4: public_ip(meta, "public-ip", true, faults),
        public_v6: public_ip(meta, "public-ipv6", false, faults),
        mac_v4: v4.as_ref().and_then(|(mac, _)| *mac),
        mac_v6: v6.as_ref().and_then(|(mac, _)| *mac),
        vni: v4.and_then(|(_, vni)| vni).or(v6.and_then(|(_, vni)| vni)),
        managed: meta.annotation(&format!("{FLANNEL}kube-subnet-manager")) == Some("true"),
    }
}

/// The annotations that say this of a node.
pub(crate) fn annotations(vtep: &Vtep) -> BTreeMap<String, String> {
    let data = |mac: MacAddr| serde_json::json!({"VNI": vtep.vni, "VtepMAC": mac.to_string()}).to_string();
    let all = [
        ("kube-subnet-manager", vtep.managed.then(|| "true".to_owned())),
        ("backend-type", vtep.backend.clone()),
        ("backend-data", vtep.mac_v4.map(data)),
        ("backend-v6-data", vtep.mac_v6.map(data)),
        ("public-ip", vtep.public_v4.map(|addr| addr.to_string())),
        ("public-ipv6", vtep.public_v6.map(|addr| addr.to_string())),
    ];
    let said = all
        .into_iter()
        .filter_map(|(name, text)| Some((format!("{FLANNEL}{name}"), text?)));
    said.collect()
}

fn public_ip(meta: &Meta, name: &str, v4: bool, faults: &mut Faults) -> Option<Addr> {
    let key = format!("{FLANNEL}{name}");
    let text = meta.annotation(&key).filter(|text| !text.is_empty())?;
    faults.take(annotation_path(&key), host_addr_of(text, v4))
}

fn host_addr_of(text: &str, v4: bool) -> Result<Addr, String> {
    let addr = host_addr(text)?;
    match addr.is_v4() == v4 {
        true => Ok(addr),
        false => Err(format!(
            "{addr} is of the wrong family; want IPv{}",
            if v4 { 4 } else { 6 }
        )),
    }
}

/// A mistake here spoils nothing else of the Node: it concerns what one agent announces, and everybody else looks at that.
fn overwrite(meta: &Meta, name: &str, v4: bool) -> Option<Result<Addr, String>> {
    let text = meta.annotation(&format!("{FLANNEL}{name}"))?;
    let found = (!text.is_empty()).then(|| host_addr_of(text, v4))?;
    Some(found.map_err(|text| format!("the annotation {FLANNEL}{name} is ignored: {text}")))
}

fn backend_data(meta: &Meta, name: &str, faults: &mut Faults) -> Option<(Option<MacAddr>, Option<u32>)> {
    let key = format!("{FLANNEL}{name}");
    let text = meta.annotation(&key).filter(|text| !text.is_empty())?;
    let parsed: Result<Option<BackendData>, _> = serde_json::from_str(text);
    let want = r#"want JSON like {"VNI":1,"VtepMAC":"02:00:5e:10:00:01"}"#;
    let data = faults.take(
        annotation_path(&key),
        parsed.map_err(|e| format!("`{}`: {e}; {want}", shown(text))),
    )??;
    let mac = data.vtep_mac.filter(|mac| !mac.is_empty()).and_then(|mac| {
        let checked = match mac.parse::<MacAddr>() {
            Ok(mac) if mac.is_group() || mac == MacAddr::default() => Err(format!("VtepMAC {mac} is no unicast MAC")),
            Ok(mac) => Ok(mac),
            Err(e) => Err(format!("VtepMAC `{}`: {e}", shown(&mac))),
        };
        faults.take(annotation_path(&key), checked)
    });
    Some((mac, data.vni))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, Object};
    use crate::objects::decode;
    use serde_json::json;

    #[test]
    fn what_annotations_say_is_read_back_from_them() {
        let addr = |text: &str| text.parse::<std::net::IpAddr>().ok().map(Addr::from);
        let both = Vtep {
            backend: Some("vxlan".into()),
            public_v4: addr("192.0.2.7"),
            public_v6: addr("2001:db8::7"),
            mac_v4: Some(MacAddr([2, 1, 2, 3, 4, 5])),
            mac_v6: Some(MacAddr([2, 1, 2, 3, 4, 6])),
            vni: Some(1),
            managed: true,
        };
        let v4 = Vtep {
            public_v6: None,
            mac_v6: None,
            ..both.clone()
        };
        for vtep in [both, v4, Vtep::default()] {
            let node = json!({"metadata": {"name": "a", "annotations": annotations(&vtep)}});
            let Some(Object::Node(record)) = decode(Kind::Node, node).object else {
                panic!()
            };
            assert_eq!(record.vtep, vtep);
        }
    }

    #[test]
    fn an_address_to_announce_instead_spoils_nothing_when_it_is_none() {
        let read = |v4: &str, v6: &str| {
            let annotations = json!({
                "flannel.alpha.coreos.com/public-ip-overwrite": v4,
                "flannel.alpha.coreos.com/public-ipv6-overwrite": v6,
            });
            let node =
                json!({"metadata": {"name": "a", "annotations": annotations}, "spec": {"podCIDR": "10.0.1.0/24"}});
            let decoded = decode(Kind::Node, node);
            assert_eq!(decoded.faults, []);
            let Some(Object::Node(record)) = decoded.object else {
                panic!()
            };
            assert_eq!(record.prefixes.len(), 1);
            (record.overwrite_v4.clone(), record.overwrite_v6.clone())
        };
        let (v4, v6) = read("203.0.113.7", "2001:db8:9::7");
        assert_eq!(v4.unwrap().unwrap().to_string(), "203.0.113.7");
        assert_eq!(v6.unwrap().unwrap().to_string(), "2001:db8:9::7");
        assert_eq!(read("", ""), (None, None));
        let endless = "1".repeat(1 << 20);
        for wrong in [
            "127.0.0.1",
            "224.0.0.1",
            "0.0.0.0",
            "2001:db8::1",
            "\u{1b}[2J",
            "203.0.113.7/24",
            &endless,
        ] {
            let text = read(wrong, "").0.unwrap().unwrap_err();
            assert!(
                text.contains("public-ip-overwrite is ignored") && text.len() < 300,
                "{text}"
            );
            assert!(!text.contains('\u{1b}'), "{text}");
        }
        assert!(read("", "192.0.2.1").1.unwrap().unwrap_err().contains("want IPv6"));
    }

    #[test]
    fn the_networks_condition_is_known_if_there_is_one() {
        for (conditions, want) in [
            (json!([]), None),
            (
                json!([{"type": "Ready", "status": "True"}, {"type": "NetworkUnavailable", "status": "True"}]),
                Some(true),
            ),
            (json!([{"type": "NetworkUnavailable", "status": "Unknown"}]), Some(true)),
            (json!([{"type": "NetworkUnavailable", "status": "False"}]), Some(false)),
        ] {
            let node = json!({"metadata": {"name": "a"}, "status": {"conditions": conditions}});
            let Some(Object::Node(record)) = decode(Kind::Node, node).object else {
                panic!()
            };
            assert_eq!(record.network_unavailable, want);
        }
    }
}
