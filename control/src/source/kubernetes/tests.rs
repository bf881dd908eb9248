use super::*;
use crate::model::Change;
use serde_json::json;

/// A kill between a policy's end and the end of what it needed leaves both in the file.
#[test]
fn saved_pods_that_no_policy_names_any_more_are_not_served() {
    let dir = std::env::temp_dir().join(format!(
        "sluice-restored-{}-{:x}",
        std::process::id(),
        fastrand::u64(..)
    ));
    std::fs::create_dir(&dir).unwrap();
    let kubeconfig = dir.join("kubeconfig");
    let text = "{apiVersion: v1, kind: Config, current-context: a, clusters: [{name: a, cluster: {server: 'http://127.0.0.1:9'}}], \
                users: [{name: a, user: {}}], contexts: [{name: a, context: {cluster: a, user: a}}]}";
    std::fs::write(&kubeconfig, text).unwrap();
    let cluster = Cluster {
        kubeconfig: Some(kubeconfig),
        servers: Vec::new(),
        node: "n".to_owned(),
        state: Some(dir.join("cluster")),
        silence: Cluster::SILENCE,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let reach = runtime.block_on(Reach::new(&cluster)).ok().unwrap();
    let header = Header::new(reach.identity(), cluster.node.clone());
    let (saver, writer) = saved::start(&dir.join("cluster"), &header, None).unwrap();
    for want in Want::FIRST.into_iter().chain([Want::OtherPods]) {
        let version = "7".to_owned();
        saver.save(Op::Version { want, version });
    }
    for (want, name) in [(Want::OwnPods, "own"), (Want::OtherPods, "other")] {
        let object = json!({"metadata": {"name": name, "namespace": "d"}});
        saver.save(Op::Is {
            want,
            object,
            whole: true,
        });
    }
    drop((saver, writer));
    let mut source = Kubernetes::follow(cluster).unwrap();
    let mut names = Vec::new();
    loop {
        match runtime.block_on(source.next()).unwrap() {
            Event::Change(Change::Upsert(object)) => names.push(object.key().name),
            Event::Change(Change::Synced) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(names, ["own"]);
    drop(source);
    std::fs::remove_dir_all(dir).unwrap();
}

/// A real server refuses such names, so only what is between it and us could say them.
#[test]
fn names_that_are_none_are_told_in_printable_words_and_the_rest_is_served() {
    let endless = "x".repeat(1 << 20);
    for name in ["evil\u{1b}[2J\u{7}", "two\nlines", "Upper", "", " ", "a/b", &endless] {
        for (kind, spec) in [
            (Kind::Pod, json!({"nodeName": "n"})),
            (
                Kind::Service,
                json!({"clusterIP": "10.96.0.9", "ports": [{"port": 80}]}),
            ),
            (Kind::Node, json!({"podCIDR": "10.0.1.0/24"})),
        ] {
            let mut known = Known::new(kind);
            let object = |name: &str| match kind.namespaced() {
                true => json!({"metadata": {"name": name, "namespace": "d"}, "spec": spec}),
                false => json!({"metadata": {"name": name}, "spec": spec}),
            };
            let mut hostile = object(name);
            let Some(heard) = known.is(0, &mut hostile) else {
                assert_eq!(name, "", "nobody knows what it is");
                continue;
            };
            let [Event::Problem(problem)] = &heard.events[..] else {
                panic!("{:?}", heard.events)
            };
            for text in [&problem.to_string(), &problem.origin, &problem.text] {
                assert!(!text.contains(char::is_control) && text.len() < 1000, "{text:.200}");
            }
            let events = known.is(0, &mut object("good")).unwrap().events;
            assert!(matches!(&events[..], [Event::Change(Change::Upsert(_))]), "{events:?}");
            assert!(
                known
                    .gone(0, &hostile)
                    .events
                    .iter()
                    .any(|event| matches!(event, Event::Solved { .. }))
            );
        }
    }
}
