//! Decides which fields a ClusterNetworkPolicy has, of version v1alpha2 with its experimental ones. It never looks at values.

use super::policy_fields::{SELECTOR, Shape, Unknown, unknown_of};
use serde_json::Value;

const ROOT: Shape = Shape(&[
    ("apiVersion", None),
    ("kind", None),
    ("metadata", None),
    ("spec", Some(&SPEC)),
    ("status", None),
]);
const SPEC: Shape = Shape(&[
    ("tier", None),
    ("priority", None),
    ("subject", Some(&SUBJECT)),
    ("ingress", Some(&INGRESS)),
    ("egress", Some(&EGRESS)),
]);
const SUBJECT: Shape = Shape(&[("namespaces", Some(&SELECTOR)), ("pods", Some(&PODS))]);
const PODS: Shape = Shape(&[("namespaceSelector", Some(&SELECTOR)), ("podSelector", Some(&SELECTOR))]);
const INGRESS: Shape = Shape(&[
    ("name", None),
    ("action", None),
    ("from", Some(&SUBJECT)),
    ("protocols", Some(&PROTOCOL)),
]);
const EGRESS: Shape = Shape(&[
    ("name", None),
    ("action", None),
    ("to", Some(&TO)),
    ("protocols", Some(&PROTOCOL)),
]);
const TO: Shape = Shape(&[
    ("namespaces", Some(&SELECTOR)),
    ("pods", Some(&PODS)),
    ("nodes", Some(&SELECTOR)),
    ("networks", None),
    ("domainNames", None),
]);
const PROTOCOL: Shape = Shape(&[
    ("tcp", Some(&PORTS)),
    ("udp", Some(&PORTS)),
    ("sctp", Some(&PORTS)),
    ("destinationNamedPort", None),
]);
const PORTS: Shape = Shape(&[("destinationPort", Some(&PORT))]);
const PORT: Shape = Shape(&[("number", None), ("range", Some(&RANGE))]);
const RANGE: Shape = Shape(&[("start", None), ("end", None)]);

/// All fields that do not exist, in the order of the object's fields.
pub(super) fn unknown(policy: &Value) -> Vec<Unknown> {
    unknown_of(policy, &ROOT)
}
