//! ClusterNetworkPolicy.

use crate::clients::{Attempt, attempt};
use crate::cluster::*;
use crate::policy::apply;
use serde_json::{Value, json};
use sluice_lab::{Lab, manifests};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(300);

/// Lets nobody of the role `user` reach the pods of the application `web`.
fn no_users(lab: &Lab, tier: &str) {
    let pods = |labels: Value| json!({"namespaceSelector": {}, "podSelector": {"matchLabels": labels}});
    let object = json!({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
        "metadata": {"name": tier.to_lowercase()},
        "spec": {"tier": tier, "priority": 10, "subject": {"pods": pods(json!({"app": "web"}))},
            "ingress": [{"name": "no-users", "action": "Deny", "from": [{"pods": pods(json!({"role": "user"}))}],
                "protocols": [{"tcp": {"destinationPort": {"number": 80}}}]}]}});
    lab.apply(&format!("{tier}.yaml"), &manifests::to_yaml(&object))
        .unwrap();
}

#[test]
fn an_admin_deny_beats_a_network_policy_that_allows_and_that_beats_a_baseline_deny() {
    in_lab(&two_nodes(), |lab| {
        let user = lab.pod("user").unwrap();
        let everywhere = |what: &str, passes: bool| {
            let wanted = if passes { Attempt::Connected } else { Attempt::Silence };
            for (pod, v6) in ["web-1", "web-2"]
                .into_iter()
                .flat_map(|pod| FAMILIES.map(|v6| (pod, v6)))
            {
                let target = (address(lab, pod, v6), 80);
                let now = || attempt(&user, target, SHORT) == wanted;
                lab.wait(&format!("{what}, {pod}"), PATIENCE, now).unwrap();
            }
        };
        everywhere("nothing is denied", true);
        no_users(lab, "Baseline");
        everywhere("the baseline denies", false);
        apply(
            lab,
            "web-from-user",
            &json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"role": "user"}}}]}]}),
        );
        everywhere("a NetworkPolicy allows it", true);
        no_users(lab, "Admin");
        everywhere("the admin tier denies", false);
        let node = lab.node("node-a").unwrap();
        let shown = || {
            let rows = node.sluice_json(&["policies"]).unwrap_or_default().to_string();
            rows.contains(r#""priority":10"#) && rows.contains(r#"Deny \"no-users\": "#)
        };
        lab.wait("the policy to be shown", PATIENCE, shown).unwrap();
        lab.remove("Admin.yaml").unwrap();
        everywhere("the NetworkPolicy allows it again", true);
        lab.remove("web-from-user.yaml").unwrap();
        everywhere("the baseline denies again", false);
    });
}
