//! Decides which connections a rule of a ClusterNetworkPolicy fits. It never decides what becomes of them, nor of a rule that is not understood.

use super::fault::FieldPath;
use super::parts::{block, port, shown};
use super::policy::{LabelSelector, port_name, selector};
use serde::{Deserialize, Serialize};
use sluice_policy::{Cidr, Peer, PortMatch, PortSpec, Rule, Selector};
use sluice_wire::Proto;

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct RawRule {
    pub(super) name: String,
    pub(super) action: String,
    // Where one of them may not be, it is a mistake even if it is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    from: Vec<RawPeer>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    to: Vec<RawPeer>,
    protocols: Option<Vec<RawProtocol>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct RawPeer {
    namespaces: Option<LabelSelector>,
    pods: Option<NamespacedPod>,
    nodes: Option<LabelSelector>,
    networks: Option<Vec<String>>,
    domain_names: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NamespacedPod {
    namespace_selector: LabelSelector,
    pod_selector: Option<LabelSelector>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct RawProtocol {
    tcp: Option<RawPorts>,
    udp: Option<RawPorts>,
    sctp: Option<RawPorts>,
    destination_named_port: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct RawPorts {
    destination_port: Option<RawPort>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct RawPort {
    number: Option<i64>,
    range: Option<RawRange>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct RawRange {
    start: i64,
    end: i64,
}

/// Why a rule is not used as it stands, and the field.
pub(super) enum Wrong {
    /// The API server would refuse it.
    Mistake(FieldPath, String),
    /// It is right, or from a later version of the API, which has more fields than this one.
    NotSupported(FieldPath, String),
}

impl From<(FieldPath, String)> for Wrong {
    fn from((path, text): (FieldPath, String)) -> Self {
        Self::Mistake(path, text)
    }
}

/// Characters of a rule's name.
pub(super) const LONGEST_NAME: usize = 100;

pub(super) fn rule(at: &FieldPath, raw: RawRule, section: &str) -> Result<Rule, Wrong> {
    let (side, from) = match section {
        "ingress" => ("from", raw.from),
        _ => ("to", raw.to),
    };
    if raw.name.chars().nth(LONGEST_NAME).is_some() {
        let text = format!("it is longer than {LONGEST_NAME} characters");
        return Err((at.key("name"), text).into());
    }
    let list = at.key(side);
    if from.is_empty() {
        return Err((list, "there are no peers; want at least one".to_owned()).into());
    }
    let pods_only = from.iter().all(|peer| peer.namespaces.is_some() || peer.pods.is_some());
    let mut peers = Vec::with_capacity(from.len());
    for (i, raw) in from.into_iter().enumerate() {
        peers.extend(peer(&list.index(i), raw)?);
    }
    let list = at.key("protocols");
    let mut ports = Vec::new();
    match raw.protocols {
        None => {}
        Some(raw) if raw.is_empty() => {
            let text = "the list is empty; leave it out to mean all protocols".to_owned();
            return Err((list, text).into());
        }
        Some(raw) => {
            for (i, raw) in raw.into_iter().enumerate() {
                if raw.destination_named_port.is_some() && !pods_only {
                    let path = list.index(i).key("destinationNamedPort");
                    let text = "only pods have named ports, and the rule has other peers; make two rules".to_owned();
                    return Err((path, text).into());
                }
                ports.extend(protocol(&list.index(i), raw)?);
            }
        }
    }
    Ok(Rule { peers, ports })
}

fn peer(at: &FieldPath, raw: RawPeer) -> Result<Vec<Peer>, Wrong> {
    let RawPeer {
        namespaces,
        pods,
        nodes,
        networks,
        domain_names,
    } = raw;
    match (namespaces, pods, nodes, networks, domain_names) {
        (Some(namespaces), None, None, None, None) => Ok(vec![Peer::Pods {
            namespaces: Some(selector(&at.key("namespaces"), namespaces)?),
            pods: None,
        }]),
        (None, Some(pods), None, None, None) => {
            let (namespaces, pods) = namespaced_pods(&at.key("pods"), pods)?;
            Ok(vec![Peer::Pods {
                namespaces: Some(namespaces),
                pods: Some(pods),
            }])
        }
        (None, None, Some(_), None, None) => Err(Wrong::NotSupported(
            at.key("nodes"),
            "nodes are not supported as peers".to_owned(),
        )),
        (None, None, None, Some(networks), None) if !networks.is_empty() => {
            let list = at.key("networks");
            let mut peers = Vec::with_capacity(networks.len());
            for (i, text) in networks.iter().enumerate() {
                let (addr, len) = block(text).map_err(|text| (list.index(i), text))?;
                let cidr = Cidr::new(addr, len);
                let cidr = cidr.ok_or_else(|| (list.index(i), format!("`{}` is no address block", shown(text))))?;
                let except = Vec::new();
                peers.push(Peer::Block { cidr, except });
            }
            Ok(peers)
        }
        (None, None, None, None, Some(_)) => {
            let text = "domain names are not supported as peers".to_owned();
            Err(Wrong::NotSupported(at.key("domainNames"), text))
        }
        // What the API server's definition does not know it has left out.
        (None, None, None, None, None) => Err(Wrong::NotSupported(
            at.clone(),
            "the peer says nothing that is known".to_owned(),
        )),
        (None, None, None, Some(_), None) => Err((at.key("networks"), "the list is empty".to_owned()).into()),
        _ => Err((at.clone(), "a peer is one thing only; make several entries".to_owned()).into()),
    }
}

/// Selectors of namespaces and of the pods in them.
pub(super) fn namespaced_pods(at: &FieldPath, raw: NamespacedPod) -> Result<(Selector, Selector), (FieldPath, String)> {
    let namespaces = selector(&at.key("namespaceSelector"), raw.namespace_selector)?;
    let pods_at = at.key("podSelector");
    let Some(pods) = raw.pod_selector else {
        return Err((pods_at, "there is none; want {} to mean all pods".to_owned()));
    };
    Ok((namespaces, selector(&pods_at, pods)?))
}

fn protocol(at: &FieldPath, raw: RawProtocol) -> Result<Vec<PortMatch>, Wrong> {
    let RawProtocol {
        tcp,
        udp,
        sctp,
        destination_named_port,
    } = raw;
    match (tcp, udp, sctp, destination_named_port) {
        (Some(tcp), None, None, None) => ports(&at.key("tcp"), Proto::TCP, tcp),
        (None, Some(udp), None, None) => ports(&at.key("udp"), Proto::UDP, udp),
        (None, None, Some(sctp), None) => ports(&at.key("sctp"), Proto::SCTP, sctp),
        (None, None, None, Some(name)) => {
            let name = port_name(&at.key("destinationNamedPort"), name)?;
            // Of whatever protocol the pod gives it this name.
            let all = [Proto::TCP, Proto::UDP, Proto::SCTP].map(|proto| PortMatch {
                proto,
                port: PortSpec::Name(name.clone()),
            });
            Ok(all.to_vec())
        }
        (None, None, None, None) => Err(Wrong::NotSupported(
            at.clone(),
            "the entry says nothing that is known".to_owned(),
        )),
        _ => Err((
            at.clone(),
            "an entry is one protocol or a named port; make several entries".to_owned(),
        )
            .into()),
    }
}

fn ports(at: &FieldPath, proto: Proto, raw: RawPorts) -> Result<Vec<PortMatch>, Wrong> {
    let Some(raw) = raw.destination_port else {
        return Err(Wrong::NotSupported(
            at.clone(),
            "it says nothing that is known".to_owned(),
        ));
    };
    let at = at.key("destinationPort");
    let spec = match (raw.number, raw.range) {
        (Some(number), None) => PortSpec::Number(port(number).map_err(|text| (at.key("number"), text))?, None),
        (None, Some(RawRange { start, end })) => {
            let range = at.key("range");
            let first = port(start).map_err(|text| (range.key("start"), text))?;
            let last = port(end).map_err(|text| (range.key("end"), text))?;
            if first >= last {
                return Err((range.key("end"), format!("end {last} is not above start {first}")).into());
            }
            PortSpec::Number(first, Some(last))
        }
        (None, None) => return Err(Wrong::NotSupported(at, "it says nothing that is known".to_owned())),
        _ => return Err((at, "want one of number and range".to_owned()).into()),
    };
    Ok(vec![PortMatch { proto, port: spec }])
}
