use super::ledger::{Ledger, SERIES, Word};
use super::object::{create, patch};
use crate::source::{Notice, Regarding};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

fn pod(name: &str) -> Regarding {
    Regarding::Pod {
        namespace: "shop".into(),
        name: name.into(),
        uid: Some("7f0e".into()),
    }
}

fn notice(regarding: Regarding, reason: &'static str) -> Notice {
    Notice {
        regarding,
        reason,
        action: "Serve",
        warning: true,
        note: "what is wrong".into(),
    }
}

fn at(seconds: u64) -> (Duration, Timestamp) {
    let wall = 1_800_000_000 + i64::try_from(seconds).unwrap();
    (Duration::from_secs(seconds), Timestamp::from_second(wall).unwrap())
}

fn observe(ledger: &mut Ledger, notice: Notice, seconds: u64) -> u64 {
    let (now, wall) = at(seconds);
    ledger.observe(notice, now, wall)
}

/// All that may be said now, said.
fn say(ledger: &mut Ledger, seconds: u64) -> Vec<Word> {
    let now = at(seconds).0;
    let words = std::iter::from_fn(|| {
        let word = ledger.next(now)?;
        ledger.written(&word, now);
        Some(word)
    });
    words.collect()
}

#[test]
fn the_same_within_ten_minutes_is_one_event_with_a_count_said_once_a_minute() {
    let mut ledger = Ledger::default();
    let slow = || notice(pod("db-0"), "SlowReceiver");
    observe(&mut ledger, slow(), 0);
    let [first] = &say(&mut ledger, 0)[..] else { panic!() };
    assert!(first.first && first.count == 1);
    for second in 1..=30 {
        assert_eq!(observe(&mut ledger, slow(), second), 0);
        assert!(say(&mut ledger, second).is_empty());
    }
    let [again] = &say(&mut ledger, 60)[..] else { panic!() };
    assert_eq!((again.first, again.count, &again.name), (false, 31, &first.name));
    assert_eq!(again.last, at(30).1);
    assert!(!ledger.has_work());
    // Something else of the same pod, and the same of another one, are others.
    observe(&mut ledger, notice(pod("db-0"), "AddressConflict"), 61);
    observe(&mut ledger, notice(pod("db-1"), "SlowReceiver"), 61);
    assert!(say(&mut ledger, 61).iter().all(|word| word.first && word.count == 1));
    // Ten quiet minutes end a series.
    let later = 30 + SERIES.as_secs();
    observe(&mut ledger, slow(), later);
    let [new] = &say(&mut ledger, later)[..] else { panic!() };
    assert!(new.first && new.count == 1 && new.name != first.name);
}

#[test]
fn objects_and_all_together_are_limited_and_what_waits_is_bounded() {
    let mut ledger = Ledger::default();
    let reasons: [&'static str; 6] = ["A", "B", "C", "D", "E", "F"];
    for reason in reasons {
        observe(&mut ledger, notice(pod("db-0"), reason), 0);
    }
    assert_eq!(say(&mut ledger, 0).len(), 4, "about one object");
    assert!(say(&mut ledger, 119).is_empty());
    assert_eq!(say(&mut ledger, 120).len(), 1);
    let mut dropped = 0;
    for n in 0..300 {
        dropped += observe(&mut ledger, notice(pod(&format!("web-{n}")), "A"), 121);
    }
    assert_eq!(dropped, 300 - 63, "one of the first still waits");
    let said: usize = (121..=1121).map(|second| say(&mut ledger, second).len()).sum();
    assert!((64..=20 + 100).contains(&said), "{said}");
    assert!(!ledger.has_work());
}

#[test]
fn what_is_gone_is_made_anew_and_what_is_refused_is_counted() {
    let mut ledger = Ledger::default();
    let now = at(0).0;
    observe(&mut ledger, notice(Regarding::Node, "UplinkMissing"), 0);
    say(&mut ledger, 0);
    observe(&mut ledger, notice(Regarding::Node, "UplinkMissing"), 100);
    let word = ledger.next(at(100).0).unwrap();
    assert!(!word.first);
    assert_eq!(ledger.lost(&word, at(100).0), 0);
    let word = ledger.next(at(101).0).unwrap();
    assert!(word.first && word.count == 2);
    let made = create("node-a", &word).unwrap();
    let event: Value = serde_json::from_slice(made.body()).unwrap();
    assert_eq!(event["series"]["count"], 2);
    observe(&mut ledger, notice(pod("a"), "A"), 0);
    observe(&mut ledger, notice(pod("a"), "A"), 0);
    ledger.written(&word, now);
    let word = ledger.next(at(101).0).unwrap();
    assert_eq!(ledger.refused(&word, now), 2);
    assert!(!ledger.has_work());
}

#[test]
fn an_event_is_what_the_api_takes_whatever_its_words_are() {
    let mut ledger = Ledger::default();
    let mut long = notice(pod(&"x".repeat(253)), "SlowReceiver");
    long.note = format!("\u{1b}[2Jred\n{}", "é".repeat(2000));
    observe(&mut ledger, long, 0);
    observe(&mut ledger, notice(Regarding::Node, "NetworkReady"), 0);
    let words = say(&mut ledger, 0);
    let [of_pod, of_node] = [&words[0], &words[1]].map(|word| {
        let made = create(&"n".repeat(200), word).unwrap();
        let event: Value = serde_json::from_slice(made.body()).unwrap();
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        assert!(text("note").len() <= 1024 && !text("note").contains(char::is_control));
        assert!(text("reportingInstance").len() <= 128 && text("reportingController") == "sluice.io/agent");
        assert!(event["metadata"]["name"].as_str().unwrap().len() <= 253);
        assert_eq!(text("eventTime"), "2027-01-15T08:00:00.000000Z");
        assert_eq!(event["series"], Value::Null);
        let path = made.uri().path().to_owned();
        let namespace = event["metadata"]["namespace"].as_str().unwrap();
        assert_eq!(path, format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"));
        event
    });
    assert_eq!(of_pod["metadata"]["namespace"], "shop");
    assert_eq!(of_pod["regarding"]["uid"], "7f0e");
    assert_eq!(of_node["metadata"]["namespace"], "default");
    assert_eq!(of_node["regarding"]["uid"], of_node["regarding"]["name"]);
    let change = patch(&words[0]).unwrap();
    assert_eq!(change.headers()["content-type"], "application/merge-patch+json");
    assert!(change.uri().path().ends_with(&words[0].name));
}
