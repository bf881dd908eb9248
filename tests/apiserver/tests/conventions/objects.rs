//! A site without TLS at its door, and small objects in its namespace, which the tests make by hand.

use super::client::{Answer, get, post};
use serde_json::{Value, json};
use sluice_apiserver::site::Site;
use std::net::SocketAddr;

/// The stand-in or another one, and where it is asked.
pub(crate) struct Place {
    pub(crate) site: Site,
    pub(crate) to: SocketAddr,
}

impl Place {
    pub(crate) fn new() -> Self {
        let site = Site::plain().unwrap();
        let to = site.front().address();
        Self { site, to }
    }

    /// Path of objects of the core group in the site's namespace.
    pub(crate) fn path(&self, what: &str) -> String {
        format!("/api/v1/namespaces/{}/{what}", self.site.names().of("default"))
    }

    /// The same of other groups.
    pub(crate) fn path_of(&self, group: &str, what: &str) -> String {
        format!("/apis/{group}/v1/namespaces/{}/{what}", self.site.names().of("default"))
    }

    pub(crate) fn get(&self, what: &str) -> Answer {
        get(self.to, &self.path(what))
    }

    /// Makes an object, which has to be taken.
    #[track_caller]
    pub(crate) fn make(&self, what: &str, object: &Value) -> Value {
        let answer = post(self.to, &self.path(what), object);
        assert_eq!(answer.code, 201, "{}", answer.text);
        answer.json()
    }

    /// A ConfigMap with labels.
    #[track_caller]
    pub(crate) fn map(&self, name: &str, labels: &Value) -> Value {
        self.make("configmaps", &map(name, labels))
    }

    /// Of all objects of a kind, as a list has it.
    pub(crate) fn version(&self, what: &str) -> String {
        version(&self.get(what).json())
    }
}

pub(crate) fn map(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}})
}

/// A pod that runs on a node of the site, as soon as somebody says that it does.
pub(crate) fn pod(place: &Place, name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeName": place.site.names().of(node), "containers": [{"name": "c", "image": "sluice.invalid/none"}],
            "automountServiceAccountToken": false, "tolerations": [{"operator": "Exists"}],
        },
    })
}

pub(crate) fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

pub(crate) fn number(object: &Value) -> u64 {
    version(object).parse().unwrap()
}
