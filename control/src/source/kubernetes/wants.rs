//! Decides what is asked of the API server: which kinds, and of each only what this node needs. It never asks.

use super::absent::Absence;
use crate::model::Kind;
use kube::core::Request;
use kube::core::params::{ListParams, WatchParams};
use serde::{Deserialize, Serialize};

/// Objects that one request lists and one stream follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Want {
    /// All of them.
    Nodes,
    /// Names and labels of all of them.
    Namespaces,
    /// Those that kube-proxies of another name do not serve, and those with an address.
    Services,
    /// Theirs.
    EndpointSlices,
    /// All of them.
    NetworkPolicies,
    /// All of them, while their definition exists.
    ClusterNetworkPolicies,
    /// Pods that run on this node.
    OwnPods,
    /// Pods of other nodes that have an address of their own and have not ended.
    OtherPods,
    /// Ranges of service addresses, where they are objects.
    ServiceCidrs,
}

/// Who serves a Service that is not ours, and Services without an address: they and their slices have these labels.
const OURS: &str = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name";
/// Objects in one answer.
const PAGE: u32 = 500;

impl Want {
    /// What is needed from the start.
    pub(super) const FIRST: [Self; 7] = [
        Self::Nodes,
        Self::Namespaces,
        Self::Services,
        Self::EndpointSlices,
        Self::NetworkPolicies,
        Self::ClusterNetworkPolicies,
        Self::OwnPods,
    ];

    /// What the objects are.
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Nodes => Kind::Node,
            Self::Namespaces => Kind::Namespace,
            Self::Services => Kind::Service,
            Self::EndpointSlices => Kind::EndpointSlice,
            Self::NetworkPolicies => Kind::NetworkPolicy,
            Self::ClusterNetworkPolicies => Kind::ClusterNetworkPolicy,
            Self::OwnPods | Self::OtherPods => Kind::Pod,
            Self::ServiceCidrs => Kind::ServiceCidr,
        }
    }

    /// What it means when a server does not serve them; `None` of what every server has.
    pub(super) const fn absence(self) -> Option<Absence> {
        match self {
            Self::ServiceCidrs => Some(Absence::OlderServer),
            Self::ClusterNetworkPolicies => Some(Absence::NoDefinition),
            _ => None,
        }
    }

    /// Which of the requests about its kind it is.
    pub(super) fn speaker(self) -> usize {
        usize::from(self == Self::OtherPods)
    }

    /// For a person.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Namespaces => "namespaces",
            Self::Services => "services",
            Self::EndpointSlices => "endpointslices",
            Self::NetworkPolicies => "networkpolicies",
            Self::ClusterNetworkPolicies => "clusternetworkpolicies",
            Self::OwnPods => "pods of this node",
            Self::OtherPods => "pods of other nodes",
            Self::ServiceCidrs => "servicecidrs",
        }
    }

    /// What problems with it are told under.
    pub(super) fn origin(self) -> String {
        format!("API server, {}", self.name())
    }

    /// Group and plural name, as an RBAC rule has them.
    pub(super) const fn resource(self) -> (&'static str, &'static str) {
        match self {
            Self::Nodes => ("", "nodes"),
            Self::Namespaces => ("", "namespaces"),
            Self::Services => ("", "services"),
            Self::EndpointSlices => ("discovery.k8s.io", "endpointslices"),
            Self::NetworkPolicies => ("networking.k8s.io", "networkpolicies"),
            Self::ClusterNetworkPolicies => ("policy.networking.k8s.io", "clusternetworkpolicies"),
            Self::OwnPods | Self::OtherPods => ("", "pods"),
            Self::ServiceCidrs => ("networking.k8s.io", "servicecidrs"),
        }
    }

    /// Whether these may name pods of other nodes.
    pub(super) const fn are_policies(self) -> bool {
        matches!(self, Self::NetworkPolicies | Self::ClusterNetworkPolicies)
    }

    /// One page of a list, `token` being what the page before gave; `whole` asks for all that is left at once.
    pub(super) fn list(self, node: &str, token: Option<&str>, whole: bool) -> Made {
        let mut params = ListParams {
            label_selector: self.labels(),
            field_selector: self.fields(node),
            continue_token: token.map(str::to_owned),
            ..ListParams::default()
        };
        params.limit = (!whole).then_some(PAGE);
        match self {
            Self::Namespaces => self.path().list_metadata(&params),
            _ => self.path().list(&params),
        }
    }

    /// A stream of changes after `version`; without one, of all that is there and then of changes. The server ends it after `seconds`.
    pub(super) fn watch(self, node: &str, version: Option<&str>, seconds: u32) -> Made {
        let params = WatchParams {
            label_selector: self.labels(),
            field_selector: self.fields(node),
            timeout: Some(seconds),
            bookmarks: true,
            send_initial_events: version.is_none(),
        };
        let version = version.unwrap_or_default();
        match self {
            Self::Namespaces => self.path().watch_metadata(&params, version),
            _ => self.path().watch(&params, version),
        }
    }

    fn path(self) -> Request {
        let (group, plural) = self.resource();
        Request::new(match group {
            "" => format!("/api/v1/{plural}"),
            group if self == Self::ClusterNetworkPolicies => format!("/apis/{group}/v1alpha2/{plural}"),
            group => format!("/apis/{group}/v1/{plural}"),
        })
    }

    fn labels(self) -> Option<String> {
        matches!(self, Self::Services | Self::EndpointSlices).then(|| OURS.to_owned())
    }

    fn fields(self, node: &str) -> Option<String> {
        match self {
            Self::OwnPods => Some(format!("spec.nodeName={node}")),
            // A pod that is not placed yet has no address.
            Self::OtherPods => Some(format!(
                "spec.nodeName!={node},spec.nodeName!=,spec.hostNetwork=false,status.phase!=Succeeded,status.phase!=Failed"
            )),
            _ => None,
        }
    }
}

/// A request that is ready to be sent.
pub(super) type Asked = http::Request<Vec<u8>>;
/// The same, if it could be made.
pub(super) type Made = Result<Asked, kube::core::request::Error>;

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(asked: Made) -> String {
        asked.unwrap().uri().to_string()
    }

    #[test]
    fn pods_of_other_nodes_are_those_whose_addresses_may_be_peers() {
        let own = uri(Want::OwnPods.list("n1", None, false));
        assert_eq!(own, "/api/v1/pods?&fieldSelector=spec.nodeName%3Dn1&limit=500");
        let others = uri(Want::OtherPods.watch("n1", Some("7"), 300));
        for part in [
            "spec.nodeName%21%3Dn1%2C",
            "spec.hostNetwork%3Dfalse",
            "status.phase%21%3DFailed",
            "&timeoutSeconds=300",
            "&allowWatchBookmarks=true",
            "&resourceVersion=7",
        ] {
            assert!(others.contains(part), "{part} in {others}");
        }
        assert!(!others.contains("sendInitialEvents"), "{others}");
    }

    #[test]
    fn services_of_others_are_not_asked_for_and_namespaces_only_by_name_and_labels() {
        let services = uri(Want::Services.list("n1", Some("abc"), false));
        assert!(services.contains("labelSelector=%21service.kubernetes.io%2Fheadless%2C%21service.kubernetes.io"));
        assert!(services.ends_with("&limit=500&continue=abc"), "{services}");
        let namespaces = Want::Namespaces.watch("n1", None, 300).unwrap();
        assert!(
            namespaces.headers()["accept"]
                .to_str()
                .unwrap()
                .contains("PartialObjectMetadata")
        );
        let uri = namespaces.uri().to_string();
        assert!(
            uri.contains("sendInitialEvents=true&resourceVersionMatch=NotOlderThan"),
            "{uri}"
        );
        let slices = self::uri(Want::EndpointSlices.list("n1", None, true));
        assert!(slices.starts_with("/apis/discovery.k8s.io/v1/endpointslices?") && !slices.contains("limit"));
    }
}
