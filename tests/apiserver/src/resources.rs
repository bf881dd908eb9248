//! Decides which kinds are served and under which names: a fixed table, and whatever a CustomResourceDefinition adds.
//! It never looks at objects other than definitions.

use serde_json::Value;
use std::sync::Arc;

/// One resource of one API version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Name in paths.
    pub plural: String,
    /// Name for one of them.
    pub singular: String,
    /// Name in objects.
    pub kind: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether `/status` is a sub-resource with its own writers.
    pub status: bool,
    /// Whether `metadata.generation` counts changes of the specification.
    pub generation: bool,
    /// Whether DELETE answers with the object instead of a Status.
    pub returns_object: bool,
    /// Whether it is there because of a definition.
    pub custom: bool,
    /// What the objects are kept under; the same for versions of the same objects.
    pub storage: Arc<str>,
}

impl Resource {
    /// `v1` or `group/v1`, as in objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            return self.version.clone();
        }
        format!("{}/{}", self.group, self.version)
    }

    /// Fields that a field selector may name, besides name and namespace.
    pub fn fields(&self) -> &'static [&'static str] {
        match &*self.storage {
            "/pods" => &[
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "spec.hostNetwork",
                "status.phase",
                "status.podIP",
                "status.nominatedNodeName",
            ],
            "/nodes" => &["spec.unschedulable"],
            "/namespaces" => &["status.phase"],
            "/services" => &["spec.clusterIP", "spec.type"],
            "/events" => &[
                "involvedObject.kind",
                "involvedObject.namespace",
                "involvedObject.name",
                "involvedObject.uid",
                "involvedObject.apiVersion",
                "involvedObject.resourceVersion",
                "involvedObject.fieldPath",
                "reason",
                "reportingComponent",
                "source",
                "type",
            ],
            _ => &[],
        }
    }

    /// The key under which an object is kept; keys sort as those of etcd do.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced {
            return format!("{namespace}/{name}");
        }
        name.to_owned()
    }
}

/// Switches of one row of the table.
const NAMESPACED: u8 = 1;
const STATUS: u8 = 2;
const GENERATION: u8 = 4;
const RETURNS: u8 = 8;

type Row = (&'static str, &'static str, &'static str, &'static str, u8);

const TABLE: &[Row] = &[
    ("", "v1", "configmaps", "ConfigMap", NAMESPACED),
    ("", "v1", "events", "Event", NAMESPACED),
    ("", "v1", "namespaces", "Namespace", STATUS | RETURNS),
    ("", "v1", "nodes", "Node", STATUS),
    ("", "v1", "pods", "Pod", NAMESPACED | STATUS | GENERATION | RETURNS),
    ("", "v1", "services", "Service", NAMESPACED | STATUS | RETURNS),
    (
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        STATUS | GENERATION,
    ),
    (
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        "EndpointSlice",
        NAMESPACED | GENERATION,
    ),
    ("events.k8s.io", "v1", "events", "Event", NAMESPACED),
    (
        "networking.k8s.io",
        "v1",
        "networkpolicies",
        "NetworkPolicy",
        NAMESPACED | GENERATION,
    ),
    (
        "networking.k8s.io",
        "v1",
        "servicecidrs",
        "ServiceCIDR",
        STATUS | GENERATION,
    ),
];

/// Where definitions are kept.
pub(crate) const DEFINITIONS: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// What every server has.
pub(crate) fn built_in() -> Vec<Arc<Resource>> {
    let row = |&(group, version, plural, kind, flags): &Row| {
        let storage = match plural {
            "events" => "/events".into(),
            _ => format!("{group}/{plural}").into(),
        };
        Arc::new(Resource {
            group: group.into(),
            version: version.into(),
            plural: plural.into(),
            singular: kind.to_ascii_lowercase(),
            kind: kind.into(),
            namespaced: flags & NAMESPACED != 0,
            status: flags & STATUS != 0,
            generation: flags & GENERATION != 0,
            returns_object: flags & RETURNS != 0,
            custom: false,
            storage,
        })
    };
    TABLE.iter().map(row).collect()
}

/// What a definition adds: one resource for each served version.
pub(crate) fn defined_by(definition: &Value) -> Vec<Arc<Resource>> {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, plural, kind) = (
        text(&spec["group"]),
        text(&spec["names"]["plural"]),
        text(&spec["names"]["kind"]),
    );
    let versions = spec["versions"].as_array().into_iter().flatten();
    let served = versions.filter(|version| version["served"] == true);
    let resource = |version: &Value| {
        Arc::new(Resource {
            group: group.clone(),
            version: text(&version["name"]),
            plural: plural.clone(),
            singular: kind.to_ascii_lowercase(),
            kind: kind.clone(),
            namespaced: spec["scope"] == "Namespaced",
            status: version["subresources"]["status"].is_object(),
            generation: true,
            returns_object: false,
            custom: true,
            storage: format!("{group}/{plural}").into(),
        })
    };
    served.map(resource).collect()
}
