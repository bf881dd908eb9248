//! kube-proxy's masquerade rules, as a table.

use crate::common::*;
use sluice_lb::FrontendKind::{ClusterIp, ExternalIp, LoadBalancer, NodePort};
use sluice_lb::Masquerade::{self, All, External, FromNode, Hairpin, No, OffCluster};
use sluice_lb::TrafficPolicy::{Cluster, Local};
use sluice_lb::{FrontendKind, MasqueradeInput, TrafficPolicy, needs_masquerade};

#[derive(Clone, Copy)]
enum Client {
    Pod,
    Node,
    Outside,
    Itself,
}
use Client::{Itself, Node, Outside, Pod};

const TABLE: &[(Client, FrontendKind, TrafficPolicy, bool, Masquerade)] = &[
    (Pod, ClusterIp, Cluster, false, No),
    (Pod, ClusterIp, Cluster, true, All),
    (Node, ClusterIp, Cluster, false, OffCluster),
    (Outside, ClusterIp, Cluster, false, OffCluster),
    (Outside, ClusterIp, Local, false, OffCluster),
    (Itself, ClusterIp, Cluster, false, Hairpin),
    (Itself, NodePort, Local, false, Hairpin),
    (Itself, LoadBalancer, Cluster, true, Hairpin),
    (Outside, NodePort, Cluster, false, External),
    (Outside, ExternalIp, Cluster, false, External),
    (Outside, LoadBalancer, Cluster, false, External),
    (Pod, LoadBalancer, Cluster, false, External),
    (Outside, NodePort, Local, false, No),
    (Outside, LoadBalancer, Local, true, No),
    (Pod, NodePort, Local, false, No),
    (Node, NodePort, Local, false, FromNode),
    (Node, ExternalIp, Local, false, FromNode),
];

#[test]
fn rules_hold() {
    for (row, &(who, via, external_policy, masquerade_all, expected)) in TABLE.iter().enumerate() {
        let endpoint = endpoint(1, 1).addr;
        let input = MasqueradeInput {
            client: if matches!(who, Itself) { endpoint } else { client(7) },
            endpoint,
            via,
            external_policy,
            client_in_cluster: matches!(who, Pod | Itself),
            client_is_node: matches!(who, Node),
            masquerade_all,
        };
        assert_eq!(Masquerade::decide(&input), expected, "row {row}: {input:?}");
        assert_eq!(needs_masquerade(&input), expected != No, "row {row}");
    }
}
