//! Decides what a NetworkPolicy allows. A faulty rule can be left out, as that allows less; a faulty selection of pods spoils the whole policy.

use super::fault::{Fault, Faults, FieldPath};
use super::parts::{Meta, block, port, proto, shown};
use super::policy_fields::Unknown;
use crate::model::PolicyRecord;
use serde::{Deserialize, Serialize};
use sluice_policy::{Cidr, Direction, Op, Peer, PortMatch, PortSpec, Requirement, Rule, Selector, directions};
use std::collections::BTreeMap;

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct NetworkPolicy {
    pub(super) metadata: Meta,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    pod_selector: LabelSelector,
    policy_types: Vec<String>,
    ingress: Option<Vec<RawRule>>,
    egress: Option<Vec<RawRule>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LabelSelector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Expression {
    key: String,
    operator: String,
    values: Vec<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct RawRule {
    // Where one of them may not be, it is a mistake even if it is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    from: Vec<RawPeer>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    to: Vec<RawPeer>,
    ports: Vec<RawPort>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct RawPeer {
    pod_selector: Option<LabelSelector>,
    namespace_selector: Option<LabelSelector>,
    ip_block: Option<IpBlock>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct IpBlock {
    cidr: String,
    except: Vec<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct RawPort {
    protocol: Option<String>,
    port: Option<IntOrString>,
    end_port: Option<i64>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged, expecting = "want a port number or a port name")]
enum IntOrString {
    Int(i64),
    Text(String),
}

/// A mistake and the field it is in.
type Wrong = (FieldPath, String);

/// What a rule that cannot be used means for the pods.
const LEFT_OUT: Option<&str> = Some("the rule is ignored, the pods it selects stay isolated");

/// `unknown` are the fields that do not exist.
/// A policy, and what was said in it that nobody knows.
pub(super) struct Checked {
    pub(super) policy: NetworkPolicy,
    pub(super) unknown: Vec<Unknown>,
}

pub(super) fn convert(policy: NetworkPolicy, unknown: Vec<Unknown>, faults: &mut Faults) -> PolicyRecord {
    let NetworkPolicy { metadata, spec } = policy;
    let root = FieldPath::of(&["spec"]);
    let mut spoilt = Vec::new();
    for Unknown { path, text, rule } in unknown {
        spoilt.extend(rule);
        faults.0.push(Fault {
            path,
            text,
            left_out: LEFT_OUT.filter(|_| rule.is_some()),
        });
    }
    let mut types = Vec::new();
    for (i, text) in spec.policy_types.iter().enumerate() {
        let parsed = match text.as_str() {
            "Ingress" => Ok(Direction::Ingress),
            "Egress" => Ok(Direction::Egress),
            other => Err(format!("`{}` is unknown; want Ingress or Egress", shown(other))),
        };
        types.extend(faults.take(root.key("policyTypes").index(i), parsed));
    }
    // As the API server fills it in: a section without rules does not make a policy one for egress.
    let has_egress_rules = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
    let (ingress, egress) = directions(Some(&types), has_egress_rules);
    let pod_selector = match selector(&root.key("podSelector"), spec.pod_selector) {
        Ok(selector) => selector,
        Err((path, text)) => {
            faults.whole(path, text);
            Selector::default()
        }
    };
    PolicyRecord {
        namespace: metadata.namespace,
        name: metadata.name,
        pod_selector,
        ingress: ingress.then(|| rules("ingress", spec.ingress, &spoilt, faults)),
        egress: egress.then(|| rules("egress", spec.egress, &spoilt, faults)),
    }
}

/// The rules of a section, without those that are `spoilt` or faulty.
fn rules(section: &str, raw: Option<Vec<RawRule>>, spoilt: &[(&str, usize)], faults: &mut Faults) -> Vec<Rule> {
    let at = FieldPath::of(&["spec", section]);
    let mut out = Vec::new();
    for (i, raw) in raw.unwrap_or_default().into_iter().enumerate() {
        match rule(&at.index(i), raw, section) {
            Ok(rule) if !spoilt.contains(&(section, i)) => out.push(rule),
            Ok(_) => {}
            Err((path, text)) => faults.0.push(Fault {
                path,
                text,
                left_out: LEFT_OUT,
            }),
        }
    }
    out
}

fn rule(at: &FieldPath, raw: RawRule, section: &str) -> Result<Rule, Wrong> {
    let (side, peers) = match section {
        "ingress" => ("from", raw.from),
        _ => ("to", raw.to),
    };
    let list = at.key(side);
    let peers = peers
        .into_iter()
        .enumerate()
        .map(|(i, p)| peer(&list.index(i), p))
        .collect::<Result<_, _>>()?;
    let list = at.key("ports");
    let ports = raw
        .ports
        .into_iter()
        .enumerate()
        .map(|(i, p)| port_match(&list.index(i), p))
        .collect::<Result<_, _>>()?;
    Ok(Rule { peers, ports })
}

fn peer(at: &FieldPath, raw: RawPeer) -> Result<Peer, Wrong> {
    match (raw.ip_block, raw.namespace_selector, raw.pod_selector) {
        (Some(raw), None, None) => ip_block(&at.key("ipBlock"), &raw),
        (Some(_), _, _) => Err((
            at.key("ipBlock"),
            "ipBlock cannot be combined with selectors; make two entries".to_owned(),
        )),
        (None, None, None) => Err((
            at.clone(),
            "the entry selects nobody; want podSelector, namespaceSelector or ipBlock".to_owned(),
        )),
        (None, namespaces, pods) => {
            let namespaces = namespaces
                .map(|s| selector(&at.key("namespaceSelector"), s))
                .transpose()?;
            let pods = pods.map(|s| selector(&at.key("podSelector"), s)).transpose()?;
            Ok(Peer::Pods { namespaces, pods })
        }
    }
}

fn ip_block(at: &FieldPath, raw: &IpBlock) -> Result<Peer, Wrong> {
    let parse = |path: FieldPath, text: &str| {
        let (addr, len) = block(text).map_err(|e| (path.clone(), e))?;
        Cidr::new(addr, len).ok_or_else(|| (path, format!("`{}` is no address block", shown(text))))
    };
    let cidr = parse(at.key("cidr"), &raw.cidr)?;
    let mut except = Vec::with_capacity(raw.except.len());
    for (i, text) in raw.except.iter().enumerate() {
        let path = at.key("except").index(i);
        let hole = parse(path.clone(), text)?;
        if !cidr.contains(hole.base()) || hole.prefix_len() <= cidr.prefix_len() {
            return Err((path, format!("except {hole} does not lie inside cidr {cidr}")));
        }
        except.push(hole);
    }
    Ok(Peer::Block { cidr, except })
}

fn port_match(at: &FieldPath, raw: RawPort) -> Result<PortMatch, Wrong> {
    let proto = proto(raw.protocol.as_deref()).map_err(|e| (at.key("protocol"), e))?;
    let end_at = at.key("endPort");
    let spec = match (raw.port, raw.end_port) {
        (None, None) => PortSpec::Any,
        (None, Some(_)) => return Err((end_at, "endPort needs a port to start from".to_owned())),
        (Some(IntOrString::Int(first)), end) => {
            let first = port(first).map_err(|e| (at.key("port"), e))?;
            let end = end.map(port).transpose().map_err(|e| (end_at.clone(), e))?;
            if let Some(end) = end.filter(|end| *end < first) {
                return Err((end_at, format!("endPort {end} is below port {first}")));
            }
            PortSpec::Number(first, end)
        }
        (Some(IntOrString::Text(_)), Some(_)) => {
            return Err((end_at, "endPort needs a numeric port; this one is a name".to_owned()));
        }
        (Some(IntOrString::Text(name)), None) => PortSpec::Name(port_name(&at.key("port"), name)?),
    };
    Ok(PortMatch { proto, port: spec })
}

/// A port's name, checked.
pub(super) fn port_name(at: &FieldPath, name: String) -> Result<String, Wrong> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let letter = name.chars().any(|c| c.is_ascii_lowercase());
    if name.len() > 15 || !letter || !name.chars().all(fits) {
        let text = format!(
            "`{}` is no port name; want up to 15 lower-case letters, digits and `-`",
            shown(&name)
        );
        return Err((at.clone(), text));
    }
    Ok(name)
}

pub(super) fn selector(at: &FieldPath, raw: LabelSelector) -> Result<Selector, Wrong> {
    let list = at.key("matchExpressions");
    let mut expressions = Vec::with_capacity(raw.match_expressions.len());
    for (i, Expression { key, operator, values }) in raw.match_expressions.into_iter().enumerate() {
        let at = list.index(i);
        if key.is_empty() {
            return Err((at.key("key"), "the expression names no label".to_owned()));
        }
        let (op, wants_values) = match operator.as_str() {
            "In" => (Op::In, true),
            "NotIn" => (Op::NotIn, true),
            "Exists" => (Op::Exists, false),
            "DoesNotExist" => (Op::DoesNotExist, false),
            other => {
                let text = format!("`{}` is unknown; want In, NotIn, Exists or DoesNotExist", shown(other));
                return Err((at.key("operator"), text));
            }
        };
        if wants_values == values.is_empty() {
            let wanted = if wants_values {
                "needs values"
            } else {
                "takes no values"
            };
            return Err((at.key("values"), format!("operator {operator} {wanted}")));
        }
        expressions.push(Requirement { key, op, values });
    }
    Ok(Selector {
        match_labels: raw.match_labels,
        expressions,
    })
}
