use super::{client, config, pod, run, server};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource};
use serde_json::json;

#[test]
fn objects_are_created_patched_replaced_and_deleted() {
    run(async {
        let server = server();
        let maps = Api::<ConfigMap>::default_namespaced(client(&server).await);
        let map: ConfigMap =
            serde_json::from_value(json!({"metadata": {"generateName": "m-"}, "data": {"a": "1"}})).unwrap();
        let made = maps.create(&PostParams::default(), &map).await.unwrap();
        let name = made.metadata.name.clone().unwrap();
        let merge = Patch::Merge(json!({"data": {"b": "2"}}));
        let patched = maps.patch(&name, &PatchParams::default(), &merge).await.unwrap();
        assert_eq!(patched.data.unwrap().len(), 2);
        let late = maps.replace(&name, &PostParams::default(), &made).await.unwrap_err();
        assert!(matches!(late, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict"));
        assert!(
            maps.delete(&name, &DeleteParams::default()).await.unwrap().is_right(),
            "a Status, as the object is gone"
        );
        assert!(maps.get_opt(&name).await.unwrap().is_none());
    });
}

#[test]
fn pages_are_followed_to_the_end() {
    run(async {
        let server = server();
        (0..7).for_each(|n| {
            server.apply(pod(&format!("p{n}"), json!({}))).unwrap();
        });
        let pods = Api::<Pod>::all(client(&server).await);
        let (mut parameters, mut names) = (ListParams::default().limit(3), Vec::new());
        loop {
            let page = pods.list(&parameters).await.unwrap();
            names.extend(page.items.into_iter().filter_map(|pod| pod.metadata.name));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => break,
            }
        }
        assert_eq!(names, (0..7).map(|n| format!("p{n}")).collect::<Vec<_>>());
    });
}

#[test]
fn a_node_is_annotated_by_its_status_and_an_event_tells_of_it() {
    run(async {
        let server = server();
        server
            .apply(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}))
            .unwrap();
        let client = client(&server).await;
        let nodes = Api::<Node>::all(client.clone());
        let change = json!({
            "metadata": {"annotations": {"flannel.alpha.coreos.com/backend-type": "vxlan"}},
            "status": {"conditions": [{"type": "NetworkUnavailable", "status": "False"}]},
        });
        let node = nodes
            .patch_status("n1", &PatchParams::default(), &Patch::Strategic(change))
            .await
            .unwrap();
        assert_eq!(
            node.status.as_ref().unwrap().conditions.as_ref().unwrap()[0].type_,
            "NetworkUnavailable"
        );
        assert_eq!(
            node.metadata.annotations.as_ref().unwrap()["flannel.alpha.coreos.com/backend-type"],
            "vxlan"
        );
        let recorder = Recorder::new(
            client,
            Reporter {
                controller: "sluice".into(),
                instance: Some("n1".into()),
            },
        );
        let event = Event {
            type_: EventType::Warning,
            reason: "Odd".into(),
            note: Some("look here".into()),
            action: "Look".into(),
            secondary: None,
        };
        for _ in 0..2 {
            recorder.publish(&event, &node.object_ref(&())).await.unwrap();
        }
        let events = server.objects("events");
        assert_eq!((events.len(), events[0]["message"].as_str()), (1, Some("look here")));
        assert_eq!(events[0]["series"]["count"], 2, "the second one patches the first");
    });
}

#[test]
fn the_certificate_is_good_for_the_name_of_the_service_and_for_no_other() {
    run(async {
        let server = server();
        for (name, good) in [("kubernetes.default.svc", true), ("example.org", false)] {
            let mut config = config(&server, None).await;
            config.tls_server_name = Some(name.into());
            let version = Client::try_from(config).unwrap().apiserver_version().await;
            assert_eq!(version.is_ok(), good, "{name}: {version:?}");
        }
        let mut other = config(&super::server(), None).await;
        other.cluster_url = server.url().parse().unwrap();
        assert!(
            Client::try_from(other).unwrap().apiserver_version().await.is_err(),
            "another authority"
        );
    });
}
