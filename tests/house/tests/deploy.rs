//! What `deploy/` says: that the API takes it, that its parts fit together, and that it keeps what is promised of it.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Container, PodSpec, Probe, SecurityContext};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde_json::Value;
use sluice_house::manifests;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn text(file: &str) -> String {
    fs::read_to_string(folder().join(file)).unwrap_or_else(|err| panic!("deploy/{file}: {err}"))
}

/// What `kubectl apply -k` reads beside the manifests, as far as it is used here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kustomization {
    api_version: String,
    kind: String,
    resources: Vec<String>,
    images: Vec<Image>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Image {
    name: String,
    new_name: String,
    new_tag: String,
}

fn kustomization() -> Kustomization {
    serde_saphyr::from_str(&text("kustomization.yaml")).unwrap()
}

/// Every document with the file that has it.
fn documents() -> Vec<(String, Value)> {
    let of = |file: String| {
        let all: Vec<Value> =
            serde_saphyr::from_multiple(&text(&file)).unwrap_or_else(|err| panic!("deploy/{file}: {err}"));
        all.into_iter()
            .map(move |document| (file.clone(), document))
            .collect::<Vec<_>>()
    };
    kustomization().resources.into_iter().flat_map(of).collect()
}

/// The only document of this kind.
fn one(kind: &str) -> Value {
    let mut all = documents().into_iter().filter(|(_, document)| document["kind"] == kind);
    let (_, found) = all.next().unwrap_or_else(|| panic!("there is no {kind}"));
    assert!(all.next().is_none(), "there is more than one {kind}");
    found
}

fn daemon_set() -> DaemonSet {
    serde_json::from_value(one("DaemonSet")).unwrap()
}

fn pod() -> PodSpec {
    daemon_set().spec.unwrap().template.spec.unwrap()
}

fn container() -> Container {
    let mut all = pod().containers;
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn security() -> SecurityContext {
    container().security_context.unwrap()
}

#[test]
fn every_manifest_is_applied_and_the_api_takes_all_of_it() {
    let Kustomization {
        api_version,
        kind,
        resources,
        ..
    } = kustomization();
    assert_eq!(
        (api_version.as_str(), kind.as_str()),
        ("kustomize.config.k8s.io/v1beta1", "Kustomization")
    );
    let there: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml") && name != "kustomization.yaml")
        .collect();
    assert_eq!(there, resources.into_iter().collect());
    let faults: Vec<String> = documents()
        .iter()
        .flat_map(|(file, document)| {
            manifests::faults(document)
                .into_iter()
                .map(move |fault| format!("deploy/{file}: {fault}"))
        })
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn manifests_fit_together() {
    let namespace = one("Namespace")["metadata"]["name"].clone();
    let whole_cluster = ["Namespace", "ClusterRole", "ClusterRoleBinding"];
    for (file, document) in documents() {
        let inside = !whole_cluster.contains(&document["kind"].as_str().unwrap());
        let wanted = if inside { &namespace } else { &Value::Null };
        assert_eq!(&document["metadata"]["namespace"], wanted, "deploy/{file}: {document}");
    }
    let name = |kind: &str| one(kind)["metadata"]["name"].as_str().unwrap().to_owned();
    let binding = one("ClusterRoleBinding");
    assert_eq!(binding["roleRef"]["name"], name("ClusterRole"));
    assert_eq!(
        binding["subjects"],
        serde_json::json!([{"kind": "ServiceAccount", "name": name("ServiceAccount"), "namespace": namespace}])
    );
    assert_eq!(pod().service_account_name, Some(name("ServiceAccount")));
    let spec = daemon_set().spec.unwrap();
    let labels = spec.template.metadata.unwrap().labels.unwrap();
    let selected = spec.selector.match_labels.unwrap();
    assert!(!selected.is_empty() && selected.iter().all(|(key, value)| labels.get(key) == Some(value)));
    let maps = pod()
        .volumes
        .unwrap()
        .into_iter()
        .filter_map(|volume| volume.config_map);
    assert_eq!(maps.map(|map| map.name).collect::<Vec<_>>(), [name("ConfigMap")]);
    let mounts = container().volume_mounts.unwrap();
    let mounted: BTreeSet<_> = mounts.iter().map(|mount| mount.name.clone()).collect();
    let volumes: BTreeSet<_> = pod().volumes.unwrap().into_iter().map(|volume| volume.name).collect();
    assert_eq!((mounted, mounts.len()), (volumes.clone(), volumes.len()));
    let config = mounts.iter().find(|mount| mount.name == "config").unwrap();
    let args = container().args.unwrap();
    let file = args.iter().skip_while(|arg| *arg != "--config").nth(1);
    let path = Path::new(file.unwrap()).strip_prefix(&config.mount_path).unwrap();
    assert!(one("ConfigMap")["data"][path.to_str().unwrap()].is_string(), "{path:?}");
    let [image] = kustomization().images.try_into().ok().unwrap();
    assert_eq!(container().image, Some(image.name.clone()));
    assert_eq!(
        (image.new_name, image.new_tag.as_str()),
        (image.name, env!("CARGO_PKG_VERSION"))
    );
}

/// Lines of a list that have no comment above them.
fn without_reason(list: &str, item: &str) -> Vec<String> {
    let text = text("daemonset.yaml");
    let head = text
        .lines()
        .position(|line| line.trim() == list)
        .unwrap_or_else(|| panic!("no {list}"));
    let lines: Vec<&str> = text.lines().skip(head + 1).collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let deep = lines
        .iter()
        .find(|line| !line.trim_start().starts_with('#'))
        .map_or(0, |line| indent(line));
    let inside = lines.iter().take_while(|line| indent(line) >= deep).collect::<Vec<_>>();
    let items = inside
        .iter()
        .enumerate()
        .filter(|(_, line)| indent(line) == deep && line.trim_start().starts_with(item));
    let bare = items.filter(|(i, _)| *i == 0 || !inside[i - 1].trim_start().starts_with('#'));
    bare.map(|(_, line)| line.trim().to_owned()).collect()
}

#[test]
fn the_agent_is_not_privileged_and_each_capability_and_mount_has_its_reason() {
    let security = security();
    assert_eq!(
        (security.privileged, security.read_only_root_filesystem),
        (Some(false), Some(true))
    );
    let capabilities = security.capabilities.unwrap();
    assert_eq!(capabilities.drop.unwrap(), ["ALL"]);
    assert!(!capabilities.add.unwrap().is_empty());
    assert_eq!(without_reason("add:", "- "), [""; 0], "capabilities");
    assert_eq!(without_reason("volumeMounts:", "- name:"), [""; 0], "mounts");
    // The check can fail: this list needs no reasons.
    assert_eq!(without_reason("volumes:", "- name: config"), ["- name: config"]);
    let pod = pod();
    assert_eq!((pod.host_pid, pod.host_ipc, pod.host_network), (None, None, Some(true)));
}

#[test]
fn an_update_starts_the_next_agent_before_the_last_one_ends() {
    let update = daemon_set()
        .spec
        .unwrap()
        .update_strategy
        .unwrap()
        .rolling_update
        .unwrap();
    assert_eq!(
        (update.max_surge, update.max_unavailable),
        (Some(IntOrString::Int(1)), Some(IntOrString::Int(0)))
    );
    // Two pods with one port of the host are not placed on one node, and on the host's network every declared port is one.
    assert!(container().ports.is_none());
}

#[test]
fn the_agent_runs_on_every_node_and_is_not_held_back() {
    let pod = pod();
    assert_eq!(pod.priority_class_name.as_deref(), Some("system-node-critical"));
    let everything = |toleration: &k8s_openapi::api::core::v1::Toleration| {
        toleration.operator.as_deref() == Some("Exists") && toleration.key.is_none() && toleration.effect.is_none()
    };
    assert!(pod.tolerations.unwrap().iter().any(everything));
    let resources = container().resources.unwrap();
    assert!(resources.limits.is_none());
    assert!(resources.requests.unwrap().keys().eq(["cpu", "memory"]));
}

#[test]
fn probes_ask_the_agent_of_their_own_container() {
    let container = container();
    let asks = |probe: Option<Probe>| probe.unwrap().exec.unwrap().command.unwrap();
    let probe = |which: &str| ["sluice", "probe", which].map(str::to_owned);
    assert_eq!(asks(container.startup_probe), probe("livez"));
    assert_eq!(asks(container.liveness_probe), probe("livez"));
    assert_eq!(asks(container.readiness_probe), probe("readyz"));
}
