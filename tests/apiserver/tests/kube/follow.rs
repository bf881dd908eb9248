use super::{client, known, pod, run, server, truth, until};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher;
use kube::{Api, Client};
use serde_json::json;
use std::time::Duration;

/// A reflector of pods that tries again at once after an error.
pub(super) fn reflect(client: Client, config: watcher::Config) -> Store<Pod> {
    let (store, writer) = reflector::store();
    let events = reflector::reflector(writer, watcher(Api::<Pod>::all(client), config));
    tokio::spawn(async move {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            if event.is_err() {
                // Refused connections come back at once; this only keeps the processor for others.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    store
}

/// Every way of kube to begin.
pub(super) fn strategies() -> Vec<(&'static str, watcher::Config)> {
    let config = watcher::Config::default;
    vec![
        ("list", config()),
        ("paged list", config().page_size(2)),
        ("list of any version", config().any_semantic()),
        ("streaming list", config().streaming_lists()),
        ("without bookmarks", config().disable_bookmarks()),
    ]
}

#[test]
fn every_strategy_follows_and_only_a_streaming_list_makes_no_list_request() {
    run(async {
        for (name, config) in strategies() {
            let server = server();
            for n in 0..5 {
                server.apply(pod(&format!("p{n}"), json!({}))).unwrap();
            }
            let store = reflect(client(&server).await, config);
            until(name, || known(&store) == truth(&server, None)).await;
            server.delete("pods", Some("default"), "p3");
            server.apply(pod("p1", json!({"x": "1"}))).unwrap();
            server.apply(pod("p9", json!({}))).unwrap();
            until(name, || known(&store) == truth(&server, None)).await;
            let lists = server.counters().requests("list", "pods");
            let expected = match name {
                "streaming list" => 0,
                "paged list" => 3,
                _ => 1,
            };
            assert_eq!(lists, expected, "{name}");
        }
    });
}

#[test]
fn a_selection_follows_what_enters_and_leaves_it() {
    run(async {
        let server = server();
        let config = watcher::Config::default().labels("app=web").fields("spec.nodeName=n1");
        let store = reflect(client(&server).await, config);
        let equal = || known(&store) == truth(&server, Some(("app", "web")));
        for label in ["web", "db", "web", "other"] {
            server.apply(pod("a", json!({"app": label}))).unwrap();
            server.apply(pod("b", json!({"app": "web", "n": label}))).unwrap();
            until(label, equal).await;
        }
        assert_eq!(known(&store).len(), 1);
    });
}

#[test]
fn an_older_server_refuses_a_streaming_list() {
    run(async {
        let server = server();
        server.watch_list(false);
        let api = Api::<Pod>::all(client(&server).await);
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default().streaming_lists()));
        let refused = loop {
            match events.next().await.unwrap() {
                Err(error) => break format!("{error:?}"),
                Ok(_) => continue,
            }
        };
        assert!(refused.contains("sendInitialEvents is forbidden"), "{refused}");
    });
}

#[test]
fn metadata_alone_can_be_followed() {
    run(async {
        let server = server();
        server.apply(pod("a", json!({"x": "y"}))).unwrap();
        for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
            let api = Api::<PartialObjectMeta<Pod>>::all(client(&server).await);
            let mut events = std::pin::pin!(watcher(api, config));
            let label = loop {
                if let watcher::Event::InitApply(object) = events.next().await.unwrap().unwrap() {
                    break object.metadata.labels.unwrap()["x"].clone();
                }
            };
            assert_eq!(label, "y");
        }
    });
}
