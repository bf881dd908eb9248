//! What the own Node says, on a server that others write to as well.

use super::cluster::{Follower, Ours, server};
use super::objects::{NODE, node};
use serde_json::{Value, json};
use sluice_control::model::{NodeRecord, Object};
use sluice_control::source::Announcement;

const FLANNEL: &str = "flannel.alpha.coreos.com/";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

fn announcement(ours: &Ours) -> Announcement {
    let said = [
        ("backend-type", "vxlan"),
        ("backend-data", r#"{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}"#),
        ("public-ip", "192.0.2.1"),
        ("kube-subnet-manager", "true"),
    ];
    let annotations = said.map(|(name, text)| (format!("{FLANNEL}{name}"), text.to_owned()));
    Announcement {
        node: ours.0.names().of(NODE),
        annotations: annotations.into(),
        available: true,
    }
}

fn record(follower: &Follower) -> Option<&NodeRecord> {
    follower.objects.values().find_map(|object| match object {
        Object::Node(node) if node.name.ends_with(&format!("-{NODE}")) => Some(&**node),
        _ => None,
    })
}

fn says_all(follower: &Follower) -> bool {
    record(follower).is_some_and(|node| {
        node.vtep.backend.as_deref() == Some("vxlan")
            && node.vtep.mac_v4.is_some()
            && node.vtep.managed
            && node.network_unavailable == Some(false)
    })
}

/// As a cloud registers it: without a network, and with a mark of somebody else's.
fn without_a_network() -> Value {
    let mut node = node(NODE, "198.18.1.0/24");
    node["metadata"]["annotations"] = json!({"example.com/mine": "yes"});
    node["status"]["conditions"] = json!([
        {"type": "NetworkUnavailable", "status": "True", "reason": "NoRouteCreated"},
        {"type": "Other", "status": "True", "reason": "Somebody"},
    ]);
    node
}

fn others_have_what_they_had(ours: &Ours) {
    let node = ours.0.one("nodes", NODE).unwrap();
    assert_eq!(node["metadata"]["annotations"]["example.com/mine"], "yes");
    let conditions = node["status"]["conditions"].as_array().unwrap();
    let of = |kind: &str| conditions.iter().find(|condition| condition["type"] == kind);
    assert_eq!(of("Other").unwrap()["reason"], "Somebody", "{conditions:?}");
    assert_eq!(of("NetworkUnavailable").unwrap()["status"], "False");
    assert_eq!(node["spec"]["podCIDR"], "198.18.1.0/24");
}

#[test]
fn the_own_node_says_where_it_is_and_what_it_loses_is_filled_in_again() {
    let ours = server();
    ours.apply(without_a_network());
    let mut follower = Follower::of(&ours);
    follower.until("a node without a network", |f| {
        record(f).is_some_and(|node| node.network_unavailable == Some(true))
    });
    follower.source.announce(Some(announcement(&ours)));
    follower.until("it says all", says_all);
    others_have_what_they_had(&ours);
    follower.source.announce(None);
    // Somebody takes it away, annotations by one path and the condition by the other.
    let path = format!("/api/v1/nodes/{}", ours.0.names().of(NODE));
    let gone = json!({"metadata": {"annotations": {format!("{FLANNEL}backend-data"): null, format!("{FLANNEL}backend-type"): null}}});
    assert_eq!(ours.0.patch(&path, MERGE, &gone).unwrap().0, 200);
    let gone = json!({"status": {"conditions": [{"type": "NetworkUnavailable", "$patch": "delete"}]}});
    assert_eq!(
        ours.0.patch(&format!("{path}/status"), STRATEGIC, &gone).unwrap().0,
        200
    );
    follower.until("it lost that", |f| {
        record(f).is_some_and(|node| node.vtep.backend.is_none() && node.network_unavailable.is_none())
    });
    follower.source.announce(Some(announcement(&ours)));
    follower.until("it says all again", says_all);
    others_have_what_they_had(&ours);
}

#[test]
fn a_node_that_is_made_again_says_it_again() {
    let ours = server();
    let mut follower = Follower::of(&ours);
    follower.source.announce(Some(announcement(&ours)));
    follower.until("it says all", says_all);
    follower.source.announce(None);
    ours.delete("nodes", NODE);
    follower.until("it is gone", |f| record(f).is_none());
    follower.source.announce(Some(announcement(&ours)));
    follower.until("that is told", |f| f.told().contains("cannot be written"));
    ours.apply(without_a_network());
    follower.until("it says all", says_all);
    others_have_what_they_had(&ours);
    follower.until("nothing is wrong any more", |f| f.problems.is_empty());
}
