//! Decides who comes through the door when something is to be forbidden: a user of the site's own, who may do all that Sluice asks for but
//! that. It never takes anything from anybody else.
//!
//! A real server knows it by a ClusterRole, the stand-in by what it is told to deny.

use super::{FOLLOWED, Site, resource, until, write};
use crate::Denial;
use crate::route::IMPERSONATE;
use anyhow::{Result, bail};
use hyper::{Method, Request};
use kube::client::Body;
use serde_json::{Value, json};

const ROOT: &str = "/apis/rbac.authorization.k8s.io/v1";
const GROUP: &str = "rbac.authorization.k8s.io";

fn rules(site: &Site) -> Result<Vec<Value>> {
    let own = json!({"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]});
    // Asked for whether a server has them or not.
    let policies = json!({"apiGroups": ["policy.networking.k8s.io"], "resources": ["clusternetworkpolicies"], "verbs": ["list", "watch"]});
    let ranges = json!({"apiGroups": ["networking.k8s.io"], "resources": ["servicecidrs"], "verbs": ["list", "watch"]});
    let mut rules = vec![own, policies, ranges];
    for plural in FOLLOWED {
        if !site.denied().contains(plural) {
            let group = resource(|one| one.plural == plural)?.group.clone();
            rules.push(json!({"apiGroups": [group], "resources": [plural], "verbs": ["list", "watch"]}));
        }
    }
    Ok(rules)
}

/// Returns once the server knows that a kind is denied, or is not any more.
pub(super) fn change(site: &Site, plural: &str, deny: bool) -> Result<()> {
    let name = site.names.prefix();
    site.front.speak_for(name);
    let Some(server) = &site.server else {
        if deny {
            site.denied().insert(plural.to_owned());
        } else {
            site.denied().remove(plural);
        }
        return settle(site, name);
    };
    for verb in ["list", "watch"] {
        let denial = Denial::of(verb, plural).to(name);
        if deny {
            server.deny(denial);
        } else {
            server.access().grant(&denial);
        }
    }
    Ok(())
}

fn settle(site: &Site, name: &str) -> Result<()> {
    let role = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules(site)?});
    let binding = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": GROUP, "kind": "User", "name": name}],
    });
    for (plural, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let all = format!("{ROOT}/{plural}");
        let ask = |method, path: &str| {
            let sent = write::ask(site.front.server(), method, path, "application/json", Some(&object));
            site.front.block_on(sent)?
        };
        match ask(Method::PUT, &format!("{all}/{name}"))? {
            (200 | 201, _) => {}
            (404, _) if matches!(ask(Method::POST, &all)?, (201, _)) => {}
            (code, answer) => bail!("{plural} {name} is not taken: {code} {}", answer["message"]),
        }
    }
    until("rights are in force", || {
        for plural in FOLLOWED {
            let path = format!(
                "{}?limit=1",
                write::path(&*resource(|one| one.plural == plural)?, "", "")
            );
            let request = Request::get(path).header(IMPERSONATE, name).body(Body::empty())?;
            let (code, _) = site.front.block_on(write::send(site.front.server(), request))??;
            let denied = site.denied().contains(plural);
            if (code == 403) != denied {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// Takes both away.
pub(super) fn remove(site: &Site) -> Result<()> {
    for plural in ["clusterrolebindings", "clusterroles"] {
        let path = format!("{ROOT}/{plural}/{}", site.names.prefix());
        site.front.block_on(write::delete(site.front.server(), &path))??;
    }
    Ok(())
}
