//! The kube crate, a client that is not ours, over TLS: it lists, pages, watches and writes, and under every fault its
//! store ends equal to the server's objects.

#[path = "../common/mod.rs"]
mod common;
mod follow;
mod random;
mod socket;
mod under_faults;
mod writes;

use common::pod;
use k8s_openapi::api::core::v1::Pod;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use sluice_apiserver::{Server, Settings};
use std::time::Duration;

fn server() -> Server {
    Server::start(Settings::default()).unwrap()
}

/// Runs a test in a runtime of its own.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
}

async fn config(server: &Server, token: Option<&str>) -> Config {
    let kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig(token)).unwrap();
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap()
}

async fn client(server: &Server) -> Client {
    Client::try_from(config(server, None).await).unwrap()
}

/// Waits for a condition.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "never happened: {what}");
}

/// Names and versions of the server's pods whose labels match.
fn truth(server: &Server, label: Option<(&str, &str)>) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let pods = server.objects("pods");
    let meant = pods
        .iter()
        .filter(|pod| label.is_none_or(|(key, value)| pod["metadata"]["labels"][key] == value));
    meant
        .map(|pod| {
            (
                text(&pod["metadata"]["name"]),
                text(&pod["metadata"]["resourceVersion"]),
            )
        })
        .collect()
}

/// Names and versions of a client's pods.
fn known(store: &kube::runtime::reflector::Store<Pod>) -> Vec<(String, String)> {
    let pods = store.state();
    let pair = |pod: &std::sync::Arc<Pod>| {
        (
            pod.metadata.name.clone().unwrap(),
            pod.metadata.resource_version.clone().unwrap(),
        )
    };
    let mut pairs: Vec<_> = pods.iter().map(pair).collect();
    pairs.sort();
    pairs
}
