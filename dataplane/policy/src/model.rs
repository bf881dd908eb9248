//! Decides how pods, namespaces and policies look to this crate. It never validates: whoever builds these records from
//! API objects has reported what is wrong with them, and what is left of a bad rule must match less, never more.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_wire::{Addr, Proto};

use crate::cidr::Cidr;
use crate::cluster::ClusterPolicy;
use crate::selector::Selector;

/// Label keys and values.
pub type Labels = BTreeMap<String, String>;

/// Everything policies are decided from. Order carries no meaning.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// All policies of the cluster; those of namespaces without local pods cost nothing.
    pub policies: Vec<Arc<Policy>>,
    /// All cluster policies.
    pub cluster: Vec<Arc<ClusterPolicy>>,
    /// All namespaces. A pod whose namespace is missing here matches no `namespaceSelector`.
    pub namespaces: Vec<Arc<Namespace>>,
    /// All pods of the cluster that own an address; Succeeded and Failed ones do not.
    pub pods: Vec<Arc<Pod>>,
}

/// A pod, as policies see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name, unique in the namespace.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// Its addresses, at most one per family in Kubernetes.
    pub addrs: Vec<Addr>,
    /// Named ports of all its containers, restartable init containers included, in the order of the pod's
    /// specification. Of two with the same name and protocol the first one counts.
    pub named_ports: Vec<NamedPort>,
    /// Uses the node's network: then it is node traffic, no policy selects it and no selector matches it.
    pub host_network: bool,
}

/// A container port with a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamedPort {
    /// The name.
    pub name: String,
    /// Its protocol.
    pub proto: Proto,
    /// Its number.
    pub port: u16,
}

/// A namespace, as policies see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Namespace {
    /// Name.
    pub name: String,
    /// Labels, `kubernetes.io/metadata.name` included.
    pub labels: Labels,
}

/// A NetworkPolicy. Whether it applies to a direction is settled already, see [`directions`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Namespace; the policy selects pods of this one only.
    pub namespace: String,
    /// Name, unique in the namespace.
    pub name: String,
    /// Which pods it is about.
    pub pod_selector: Selector,
    /// Rules for connections to the pods. `None`: does not apply; empty: allows nothing.
    pub ingress: Option<Vec<Rule>>,
    /// Rules for connections from the pods, likewise.
    pub egress: Option<Vec<Rule>>,
}

/// Allows what matches one of the peers and one of the ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `from` or `to`. Empty: everybody. A rule whose peers were all found invalid must be left out, not emptied.
    pub peers: Vec<Peer>,
    /// Destination ports. Empty: every port of every protocol. Otherwise only TCP, UDP and SCTP can match.
    pub ports: Vec<PortMatch>,
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Pods by label. At least one of the two is given; with neither, the peer matches nothing.
    Pods {
        /// Their namespaces; `None`: the policy's own.
        namespaces: Option<Selector>,
        /// The pods in them; `None`: all.
        pods: Option<Selector>,
    },
    /// Addresses, whether they belong to pods or not.
    Block {
        /// The block.
        cidr: Cidr,
        /// Parts of it that do not match. What lies outside the block has no effect.
        except: Vec<Cidr>,
    },
}

/// A destination port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMatch {
    /// TCP, UDP or SCTP; with any other protocol it matches nothing.
    pub proto: Proto,
    /// The port.
    pub port: PortSpec,
}

/// Which ports of a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortSpec {
    /// All of them.
    Any,
    /// One, or with `endPort` the range up to and including it; an end below the start matches nothing.
    Number(u16, Option<u16>),
    /// The port that the destination pod gives this name. Destinations that are no pods have none.
    Name(String),
}

/// Which way the connection goes, seen from the pod that a policy selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// To the pod.
    Ingress,
    /// From the pod.
    Egress,
}

/// To which directions a policy applies, as (ingress, egress): those that `policyTypes` lists; where it is absent or empty,
/// ingress always, and egress only if the policy has egress rules (Kubernetes `SetDefaults_NetworkPolicy`, which an API server
/// has applied already and a manifest file has not).
pub fn directions(policy_types: Option<&[Direction]>, has_egress_rules: bool) -> (bool, bool) {
    match policy_types {
        Some(types) if !types.is_empty() => (types.contains(&Direction::Ingress), types.contains(&Direction::Egress)),
        _ => (true, has_egress_rules),
    }
}

impl Pod {
    /// The number behind a port name, if the pod has it for this protocol.
    pub fn named_port(&self, name: &str, proto: Proto) -> Option<u16> {
        self.named_ports
            .iter()
            .find(|p| p.name == name && p.proto == proto)
            .map(|p| p.port)
    }
}

impl Policy {
    /// The rules of one direction; `None` when the policy does not apply to it.
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }

    /// Whether the policy is about this pod, whatever the direction.
    pub fn selects(&self, pod: &Pod) -> bool {
        !pod.host_network && pod.namespace == self.namespace && self.pod_selector.matches(&pod.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::{Egress, Ingress};
    use super::*;

    #[test]
    fn policy_types_default_to_ingress_and_to_egress_only_with_egress_rules() {
        assert_eq!(directions(None, false), (true, false));
        assert_eq!(directions(None, true), (true, true));
        assert_eq!(directions(Some(&[]), true), (true, true));
        assert_eq!(directions(Some(&[Ingress]), true), (true, false));
        assert_eq!(directions(Some(&[Egress]), false), (false, true));
        assert_eq!(directions(Some(&[Egress, Ingress]), false), (true, true));
    }

    #[test]
    fn the_first_of_two_ports_with_one_name_and_protocol_counts() {
        let port = |proto, port| NamedPort {
            name: "dns".into(),
            proto,
            port,
        };
        let named_ports = vec![port(Proto::TCP, 53), port(Proto::UDP, 5353), port(Proto::TCP, 54)];
        let pod = Pod {
            named_ports,
            ..Pod::default()
        };
        assert_eq!(pod.named_port("dns", Proto::TCP), Some(53));
        assert_eq!(pod.named_port("dns", Proto::UDP), Some(5353));
        assert_eq!(pod.named_port("dns", Proto::SCTP), None);
    }
}
