//! The door in front of a server: what it leaves alone, and what it spoils.

use super::client::{Stream, get};
use super::objects::{Place, version};
use serde_json::json;
use sluice_apiserver::{Fault, Rule};

#[test]
fn what_comes_through_is_what_the_server_said() {
    let place = Place::new();
    place.map("a", &json!({"x": "1"}));
    let path = place.path("configmaps/a");
    let (code, behind) = place.site.get(&path).unwrap();
    let through = get(place.to, &path);
    assert_eq!((through.code, through.json()), (code, behind));
    let counters = place.site.front().counters();
    let before = counters.requests("list", "configmaps");
    place.get("configmaps");
    place.site.all("configmaps").unwrap();
    assert_eq!(
        counters.requests("list", "configmaps"),
        before + 1,
        "only what comes through is counted"
    );
}

#[test]
fn faults_are_at_the_door_and_not_behind_it() {
    let place = Place::new();
    let front = place.site.front();
    let made = place.map("a", &json!({}));
    let busy = Fault::Answer {
        code: 429,
        retry_after: Some(7),
    };
    front.fault(Rule::of(busy).on("configmaps").for_verb("list").times(1));
    assert_eq!(place.site.get(&place.path("configmaps")).unwrap().0, 200);
    let refused = place.get("configmaps");
    assert_eq!(refused.code, 429);
    assert!(
        refused.head.to_ascii_lowercase().contains("retry-after: 7"),
        "{}",
        refused.head
    );
    assert_eq!(place.get("configmaps").code, 200);
    for fault in [Fault::Cut, Fault::Duplicate, Fault::Expired] {
        let path = place.path(&format!(
            "configmaps?watch=1&labelSelector=own&resourceVersion={}",
            version(&made)
        ));
        front.fault(Rule::of(fault).on("configmaps").times(1));
        let mut stream = Stream::watch(place.to, &path);
        place.site.delete("configmaps", "b").unwrap();
        place.map("b", &json!({"own": "yes"}));
        match fault {
            Fault::Cut => {
                let half = stream.line().unwrap();
                assert!(half.starts_with(b"{") && stream.cut);
            }
            // What was deleted and made again before is said first.
            Fault::Duplicate => assert_eq!((stream.short(), stream.short()), ("ADDED b".into(), "ADDED b".into())),
            _ => assert_eq!((stream.short(), stream.short()), ("ERROR 410".into(), "end".into())),
        }
        front.faults().clear();
    }
}
