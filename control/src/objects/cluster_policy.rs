//! Decides what a ClusterNetworkPolicy says. A rule that is not understood in full fails closed, as the API asks: one that accepts fits
//! nothing, any other denies everything. It never serves a policy of which it is not known whom it is about, or when it is asked.

use super::cluster_rule::{LONGEST_NAME, NamespacedPod, RawRule, Wrong, namespaced_pods, rule};
use super::fault::{Fault, Faults, FieldPath};
use super::parts::{Meta, shown};
use super::policy::{LabelSelector, selector};
use super::policy_fields::Unknown;
use crate::model::ClusterPolicyRecord;
use serde::{Deserialize, Serialize};
use sluice_policy::{Action, ClusterPolicy, ClusterRule, Peer, Rule, Subject, Tier};
use std::sync::Arc;

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct ClusterNetworkPolicy {
    pub(super) metadata: Meta,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Spec {
    tier: String,
    priority: Option<i64>,
    subject: RawSubject,
    ingress: Vec<RawRule>,
    egress: Vec<RawRule>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct RawSubject {
    namespaces: Option<LabelSelector>,
    pods: Option<NamespacedPod>,
}

/// A policy, and what was said in it that nobody knows.
pub(super) struct Checked {
    pub(super) policy: ClusterNetworkPolicy,
    pub(super) unknown: Vec<Unknown>,
}

/// The highest priority value.
const LAST: i64 = 1000;

pub(super) fn convert(checked: Checked, faults: &mut Faults) -> ClusterPolicyRecord {
    let Checked { policy, unknown } = checked;
    let ClusterNetworkPolicy { metadata, spec } = policy;
    let root = FieldPath::of(&["spec"]);
    let mut spoilt = Vec::new();
    for Unknown { path, text, rule } in unknown {
        let left_out = rule.map(|(section, at)| {
            spoilt.push((section, at));
            let rules = if section == "ingress" {
                &spec.ingress
            } else {
                &spec.egress
            };
            follows(rules.get(at).and_then(|raw| action(&raw.action)))
        });
        faults.0.push(Fault { path, text, left_out });
    }
    let tier = match spec.tier.as_str() {
        "Admin" => Ok(Tier::Admin),
        "Baseline" => Ok(Tier::Baseline),
        other => Err(format!("`{}` is unknown; want Admin or Baseline", shown(other))),
    };
    let tier = faults.take(root.key("tier"), tier).unwrap_or(Tier::Admin);
    let priority = match spec.priority {
        Some(given @ 0..=LAST) => Ok(given as u16),
        Some(other) => Err(format!("{other} is no priority; want 0 to {LAST}")),
        None => Err(format!("there is none; want 0 to {LAST}")),
    };
    let priority = faults.take(root.key("priority"), priority).unwrap_or_default();
    let subject = subject(&root.key("subject"), spec.subject).unwrap_or_else(|(path, text)| {
        faults.whole(path, text);
        Subject::default()
    });
    let mut not_honoured = Vec::new();
    let mut rules = |section, raw| read_rules(section, raw, &spoilt, faults, &mut not_honoured);
    let (ingress, egress) = (rules("ingress", spec.ingress), rules("egress", spec.egress));
    ClusterPolicyRecord {
        policy: Arc::new(ClusterPolicy {
            name: metadata.name,
            tier,
            priority,
            subject,
            ingress,
            egress,
        }),
        not_honoured,
    }
}

fn subject(at: &FieldPath, raw: RawSubject) -> Result<Subject, (FieldPath, String)> {
    match (raw.namespaces, raw.pods) {
        (Some(namespaces), None) => Ok(Subject {
            namespaces: selector(&at.key("namespaces"), namespaces)?,
            pods: None,
        }),
        (None, Some(pods)) => {
            let (namespaces, pods) = namespaced_pods(&at.key("pods"), pods)?;
            let pods = Some(pods);
            Ok(Subject { namespaces, pods })
        }
        _ => Err((at.clone(), "want one of namespaces and pods, and no more".to_owned())),
    }
}

fn action(text: &str) -> Option<Action> {
    match text {
        "Accept" => Some(Action::Accept),
        "Deny" => Some(Action::Deny),
        "Pass" => Some(Action::Pass),
        _ => None,
    }
}

/// What a rule that is not understood does.
const fn follows(action: Option<Action>) -> &'static str {
    match action {
        Some(Action::Accept) => "the rule accepts nothing",
        Some(Action::Deny | Action::Pass) | None => "the rule denies everything",
    }
}

/// The same, as a rule.
fn closed(name: String, action: Option<Action>) -> ClusterRule {
    let (action, peers) = match action {
        Some(Action::Accept) => {
            let nobody = Peer::Pods {
                namespaces: None,
                pods: None,
            };
            (Action::Accept, vec![nobody])
        }
        Some(Action::Deny | Action::Pass) | None => (Action::Deny, Vec::new()),
    };
    let fits = Rule {
        peers,
        ..Rule::default()
    };
    ClusterRule { name, action, fits }
}

/// The rules of a section, those closed that are `spoilt`, faulty or ask for more than is supported.
fn read_rules(
    section: &str,
    raw: Vec<RawRule>,
    spoilt: &[(&str, usize)],
    faults: &mut Faults,
    not_honoured: &mut Vec<String>,
) -> Vec<ClusterRule> {
    let list = FieldPath::of(&["spec", section]);
    let mut out = Vec::with_capacity(raw.len());
    for (i, raw) in raw.into_iter().enumerate() {
        let at = list.index(i);
        let action = action(&raw.action);
        let name: String = raw.name.chars().take(LONGEST_NAME).collect();
        let mut fault = |path, text| {
            let left_out = Some(follows(action));
            faults.0.push(Fault { path, text, left_out });
        };
        if action.is_none() {
            let text = format!("`{}` is unknown; want Accept, Deny or Pass", shown(&raw.action));
            fault(at.key("action"), text);
        }
        match (rule(&at, raw, section), action) {
            (Ok(fits), Some(action)) if !spoilt.contains(&(section, i)) => {
                out.push(ClusterRule { name, action, fits });
                continue;
            }
            (Ok(_), _) => {}
            (Err(Wrong::Mistake(path, text)), _) => fault(path, text),
            (Err(Wrong::NotSupported(path, text)), _) => {
                not_honoured.push(format!("{path}: {text}; {}", follows(action)));
            }
        }
        out.push(closed(name, action));
    }
    out
}
