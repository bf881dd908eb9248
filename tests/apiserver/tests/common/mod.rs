//! Objects that both suites make.

use serde_json::{Value, json};

/// A pod of `default` on a node.
pub(crate) fn pod(name: &str, labels: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
    });
    pod["metadata"]["labels"] = labels;
    pod
}
