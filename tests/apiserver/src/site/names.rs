//! Decides how objects of one site are told from everybody else's: by a prefix in the names of nodes and namespaces. It never asks a server.

use crate::resources::Resource;
use serde_json::{Value, json};

/// Label of nodes and namespaces that tests made, by which a person finds what a killed run left behind.
const LABEL: &str = "sluice-test";
/// Who tends the slices: nobody else does then.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// Names of one site.
#[derive(Clone, Debug)]
pub struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new() -> Self {
        Self {
            prefix: format!("sluice-test-{:08x}", fastrand::u32(..)),
        }
    }

    /// What all of them begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The name of a node or a namespace.
    pub fn of(&self, short: &str) -> String {
        format!("{}-{short}", self.prefix)
    }

    /// Whether something of this namespace, or of this name where there is none, is of this site.
    pub fn own(&self, namespace: &str, name: &str) -> bool {
        let whole = if namespace.is_empty() { name } else { namespace };
        whole
            .strip_prefix(&self.prefix)
            .is_some_and(|rest| rest.starts_with('-'))
    }

    pub(super) fn owns(&self, resource: &Resource, object: &Value) -> bool {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let namespace = if resource.namespaced { text("namespace") } else { "" };
        self.own(namespace, text("name"))
    }

    /// Makes an object one of this site, and one that nobody else takes care of.
    pub(super) fn place(&self, resource: &Resource, object: &mut Value) {
        let whole = |value: &mut Value| {
            if let Some(short) = value.as_str().filter(|short| !short.is_empty()) {
                *value = self.of(short).into();
            }
        };
        let metadata = &mut object["metadata"];
        if resource.namespaced {
            if metadata["namespace"].is_null() {
                metadata["namespace"] = "default".into();
            }
            whole(&mut metadata["namespace"]);
        } else {
            whole(&mut metadata["name"]);
            metadata["labels"][LABEL] = self.prefix.clone().into();
        }
        match &*resource.plural {
            // The images are nobody's; a cluster that checks pods strictly takes those with the node's network, too.
            "namespaces" => metadata["labels"]["pod-security.kubernetes.io/enforce"] = "privileged".into(),
            "endpointslices" => metadata["labels"][MANAGED_BY] = LABEL.into(),
            // No scheduler places anything on a machine that is not there.
            "nodes" => object["spec"]["taints"] = json!([{"key": LABEL, "effect": "NoSchedule"}]),
            "pods" => self.settle(&mut object["spec"]),
            _ => {}
        }
        for endpoint in object["endpoints"].as_array_mut().into_iter().flatten() {
            if endpoint["nodeName"].is_string() {
                whole(&mut endpoint["nodeName"]);
            }
        }
    }

    /// A pod stays where it is said to be, and nowhere if nothing is said: its node is never ready, and no scheduler is asked.
    fn settle(&self, spec: &mut Value) {
        if let Some(node) = spec["nodeName"].as_str() {
            spec["nodeName"] = self.of(node).into();
        }
        spec["schedulerName"] = LABEL.into();
        spec["automountServiceAccountToken"] = false.into();
        spec["tolerations"] = json!([{"operator": "Exists"}]);
    }
}
