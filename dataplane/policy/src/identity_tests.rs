use super::*;
use crate::model::{Labels, NamedPort};
use sluice_wire::Proto;

fn addr(last: u8) -> Addr {
    Addr::v4([10, 0, 0, last])
}

fn pod(name: &str, app: &str, last: u8) -> Pod {
    let labels: Labels = [("app".to_owned(), app.to_owned())].into();
    Pod {
        namespace: "default".into(),
        name: name.into(),
        labels,
        addrs: vec![addr(last)],
        ..Pod::default()
    }
}

fn model(pods: &[Pod]) -> Model {
    let default = Namespace {
        name: "default".into(),
        labels: Labels::new(),
    };
    Model {
        namespaces: vec![Arc::new(default)],
        pods: pods.iter().cloned().map(Arc::new).collect(),
        ..Model::default()
    }
}

#[test]
fn pods_that_look_the_same_share_a_number_and_named_ports_tell_them_apart() {
    let mut named = pod("web-3", "web", 3);
    named.named_ports = vec![NamedPort {
        name: "http".into(),
        proto: Proto::TCP,
        port: 80,
    }];
    let table = Identities::default().next(&model(&[pod("web-1", "web", 1), pod("web-2", "web", 2), named]));
    assert_eq!(table.lookup(addr(1)), table.lookup(addr(2)));
    assert_ne!(table.lookup(addr(1)), table.lookup(addr(3)));
    assert_eq!(table.lookup(addr(4)), None);
    let content = table.content(table.lookup(addr(3)).unwrap()).unwrap();
    assert_eq!(
        (content.labels["app"].as_str(), content.named_port("http", Proto::TCP)),
        ("web", Some(80))
    );
    assert_eq!(table.addresses().len(), 3);
}

#[test]
fn host_network_pods_have_no_identity_and_claim_no_address() {
    let on_node = Pod {
        host_network: true,
        ..pod("a-first", "web", 1)
    };
    let table = Identities::default().next(&model(&[on_node.clone(), pod("z-last", "web", 1)]));
    assert!(table.lookup(addr(1)).is_some());
    assert_eq!(Identities::default().next(&model(&[on_node])).lookup(addr(1)), None);
}

#[test]
fn an_address_of_two_pods_goes_to_the_first_by_name() {
    let twice = Pod {
        addrs: vec![addr(1), addr(1)],
        ..pod("c", "web", 1)
    };
    let table = Identities::default().next(&model(&[
        pod("b", "db", 1),
        pod("a", "web", 1),
        twice,
        pod("d", "db", 2),
    ]));
    let owner = table.content(table.lookup(addr(1)).unwrap()).unwrap();
    assert_eq!(owner.labels["app"], "web");
}

#[test]
fn a_number_rests_before_it_stands_for_other_pods() {
    let keeper = pod("keeper", "keeper", 1);
    let mut table = Identities::default().next(&model(&[keeper.clone(), pod("old", "old", 2)]));
    let (kept, old) = (table.lookup(addr(1)), table.lookup(addr(2)));
    for update in 1..=REST_UPDATES {
        // New content each time: it would take any number that it may.
        table = table.next(&model(&[keeper.clone(), pod("job", &update.to_string(), 3)]));
        assert_eq!(table.lookup(addr(1)), kept);
        assert_ne!(table.lookup(addr(3)), old, "after {update} updates");
    }
    let three = |app: &str| model(&[keeper.clone(), pod("new", app, 4)]);
    let back = table.next(&three("old"));
    assert_eq!(back.lookup(addr(4)), old, "content that returns finds its number");
    let reused = table.next(&three("new"));
    assert_eq!(
        reused.lookup(addr(4)),
        old,
        "the number that rested longest is given out"
    );
    assert_ne!(reused, back);
    let returned_late = reused.next(&three("old"));
    assert_ne!(returned_late.lookup(addr(4)), old, "and is gone for whoever had it");
}

#[test]
fn churn_reuses_numbers_instead_of_growing_for_ever() {
    let mut table = Identities::default();
    for n in 0..3 * REST_UPDATES {
        table = table.next(&model(&[pod("job", &n.to_string(), 1)]));
    }
    assert!(
        table.table.contents.len() as u64 <= REST_UPDATES + 2,
        "{} contents",
        table.table.contents.len()
    );
    assert_eq!(table.table.index.len(), table.table.contents.len());
    let live = table.content(table.lookup(addr(1)).unwrap()).unwrap();
    assert_eq!(live.labels["app"], (3 * REST_UPDATES - 1).to_string());
}

#[test]
fn labels_of_the_namespace_are_part_of_the_identity() {
    let before = model(&[pod("web", "web", 1)]);
    let mut after = before.clone();
    after.namespaces = vec![Arc::new(Namespace {
        name: "default".into(),
        labels: [("team".into(), "a".into())].into(),
    })];
    let one = Identities::default().next(&before);
    let two = one.next(&after);
    assert_ne!(one.lookup(addr(1)), two.lookup(addr(1)));
    assert_eq!(one.lookup(addr(1)), two.next(&before).lookup(addr(1)));
}
