//! What a node should know of what a server has: the slow way, without selectors.

use serde_json::Value;
use sluice_control::model::Kind;

/// Kinds that every server has, by their plural names.
pub(crate) const KINDS: [(&str, Kind); 7] = [
    ("nodes", Kind::Node),
    ("namespaces", Kind::Namespace),
    ("pods", Kind::Pod),
    ("services", Kind::Service),
    ("endpointslices", Kind::EndpointSlice),
    ("networkpolicies", Kind::NetworkPolicy),
    ("servicecidrs", Kind::ServiceCidr),
];

/// Whether a policy names pods.
pub(crate) fn names_pods(policy: &Value) -> bool {
    let rules = |way: &str| policy["spec"][way].as_array().cloned().unwrap_or_default();
    let peers = |rule: &Value| [&rule["from"], &rule["to"]].map(|peers| peers.as_array().cloned().unwrap_or_default());
    let mut all = ["ingress", "egress"].map(rules).into_iter().flatten();
    all.any(|rule| {
        let mut peers = peers(&rule).into_iter().flatten();
        peers.any(|peer| !peer["podSelector"].is_null() || !peer["namespaceSelector"].is_null())
    })
}

/// Whether `node` should know this object; `others` says whether some policy names pods.
pub(crate) fn wanted(kind: Kind, object: &Value, node: &str, others: bool) -> bool {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let labels = &object["metadata"]["labels"];
    let mut foreign = ["headless", "service-proxy-name"].iter();
    let foreign = foreign.any(|of| !labels[format!("service.kubernetes.io/{of}")].is_null());
    let place = text("/spec/nodeName");
    let ended = matches!(text("/status/phase"), "Succeeded" | "Failed");
    let host = object.pointer("/spec/hostNetwork").is_some_and(|host| host == true);
    match kind {
        Kind::Pod => place == node || (others && !place.is_empty() && !ended && !host),
        Kind::Service | Kind::EndpointSlice => !foreign,
        _ => true,
    }
}
