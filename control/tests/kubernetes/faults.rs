use super::cluster::{Follower, server};
use super::objects::{NODE, pod, pods_of_app, policy, service};
use sluice_apiserver::{Denial, Fault, Rule, Server};
use sluice_control::source::Cluster;
use std::time::Duration;

/// Changes of some kinds, some of which meet the fault.
fn churn(server: &Server, round: u8) {
    for n in 0..6 {
        server
            .apply(pod(&format!("p{n}"), NODE, &format!("10.244.1.{}", 10 * round + n)))
            .unwrap();
        server
            .apply(pod(&format!("q{n}"), "node-b", &format!("10.244.2.{}", 10 * round + n)))
            .unwrap();
    }
    server.delete("pods", Some("default"), "p4");
    server
        .apply(service("web", "10.96.0.10", 80 + u16::from(round)))
        .unwrap();
}

fn faults() -> Vec<Rule> {
    let answer = |code| Fault::Answer {
        code,
        retry_after: (code == 429).then_some(1),
    };
    let events = [
        Fault::Cut,
        Fault::Garbage,
        Fault::Duplicate,
        Fault::Reorder,
        Fault::Expired,
    ];
    let mut rules: Vec<Rule> = events.map(|fault| Rule::of(fault).on("pods").times(3)).to_vec();
    for code in [400, 401, 403, 404, 410, 429, 500, 503, 504] {
        rules.push(Rule::of(answer(code)).on("pods").for_verb("watch").times(2));
        rules.push(Rule::of(answer(code)).on("pods").for_verb("list").times(2));
    }
    rules
}

fn case(rule: &Rule, streamed: bool, from_the_start: bool) {
    let server = server();
    server.watch_list(streamed);
    server.apply(policy("apps", &pods_of_app())).unwrap();
    if from_the_start {
        server.fault(rule.clone());
    }
    let mut follower = Follower::of(&server);
    if !from_the_start {
        follower.catch_up(&server);
        server.fault(rule.clone());
        server.lines().close_all();
    }
    churn(&server, 1);
    follower.catch_up(&server);
    server.faults().clear();
    churn(&server, 2);
    follower.catch_up(&server);
    follower.until("nothing is wrong any more", |f| f.problems.is_empty());
}

#[test]
fn what_is_known_ends_equal_under_every_fault_of_streams_and_answers() {
    let mut cases = Vec::new();
    for streamed in [true, false] {
        for from_the_start in [true, false] {
            cases.extend(faults().into_iter().map(|rule| (rule, streamed, from_the_start)));
        }
    }
    // They mostly wait.
    std::thread::scope(|scope| {
        for (rule, streamed, from_the_start) in &cases {
            scope.spawn(move || case(rule, *streamed, *from_the_start));
        }
    });
}

#[test]
fn a_kind_that_is_forbidden_is_told_with_the_rule_that_grants_it() {
    let server = server();
    let denial = Denial::of("watch", "networkpolicies");
    let lists = Denial::of("list", "networkpolicies");
    server.deny(denial.clone());
    server.deny(lists.clone());
    let mut follower = Follower::of(&server);
    follower.until("a refusal", |f| f.told().contains("forbidden"));
    follower.until("all else", |f| f.source.missing() == ["networkpolicies"]);
    assert!(!follower.store.synced(), "nobody knows whom policies isolate");
    let told = follower.told();
    assert!(
        told.starts_with("API server, networkpolicies: networkpolicies.networking.k8s.io is forbidden: "),
        "{told}"
    );
    let rule = r#"{apiGroups: ["networking.k8s.io"], resources: [networkpolicies], verbs: [list, watch]}"#;
    assert!(told.ends_with(rule), "{told}");
    server.access().grant(&denial);
    server.access().grant(&lists);
    follower.catch_up(&server);
    assert_eq!(follower.told(), "");
}

#[test]
fn what_is_missing_and_not_needed_any_more_holds_nothing_up() {
    let server = server();
    let denials = ["list", "watch"].map(|verb| [verb, verb].map(str::to_owned));
    let denials = denials.map(|[a, b]| [Denial::of(&a, "networkpolicies"), Denial::of(&b, "pods")]);
    denials.iter().for_each(|[policies, _]| server.deny(policies.clone()));
    let mut follower = Follower::of(&server);
    follower.until("all but policies", |f| f.source.missing() == ["networkpolicies"]);
    // From now on nobody may ask for pods; who asked before still hears of them.
    denials.iter().for_each(|[_, pods]| server.deny(pods.clone()));
    server.apply(policy("apps", &pods_of_app())).unwrap();
    denials.iter().for_each(|[policies, _]| server.access().grant(policies));
    follower.until("a policy that needs them", |f| {
        f.source.missing() == ["pods of other nodes"]
    });
    follower.until("a refusal", |f| f.told().contains("pods is forbidden"));
    assert!(!follower.store.synced());
    server.delete("networkpolicies", Some("default"), "apps");
    follower.catch_up(&server);
    follower.until("nothing is wrong any more", |f| f.problems.is_empty());
}

#[test]
fn a_server_that_is_away_leaves_what_is_known_and_is_found_again() {
    let server = server();
    let mut follower = Follower::of(&server);
    follower.catch_up(&server);
    let heard = follower.source.last_heard().unwrap();
    server.lines().refuse(true);
    server.lines().close_all();
    follower.until("nobody answers", |f| f.told().contains("it is tried again"));
    follower.until("no more than that is told", |f| {
        f.problems.keys().all(|origin| origin.starts_with("API server"))
    });
    let origin = format!("API server {}/", server.url());
    assert_eq!(
        follower.problems[&origin].len(),
        1,
        "once, not for each kind: {}",
        follower.told()
    );
    assert_eq!(follower.store.services().count(), 1);
    server.apply(service("db", "10.96.0.11", 5432)).unwrap();
    server.lines().refuse(false);
    follower.catch_up(&server);
    follower.until("nothing is wrong any more", |f| f.problems.is_empty());
    assert!(follower.source.last_heard().unwrap() > heard);
}

#[test]
fn a_connection_that_is_silent_for_too_long_is_given_up_and_a_quiet_one_is_not() {
    let server = server();
    // A machine that is busy with other tests may stand still for a moment.
    let silence = Duration::from_secs(3);
    let mut follower = Follower::with(&server, |cluster: &mut Cluster| cluster.silence = silence);
    follower.catch_up(&server);
    server.lines().half_open(true);
    server.apply(service("db", "10.96.0.11", 5432)).unwrap();
    follower.until("it is noticed", |f| f.told().contains("must be dead"));
    server.lines().half_open(false);
    follower.catch_up(&server);
    let watches = || server.counters().requests("watch", "services");
    let before = watches();
    let deadline = std::time::Instant::now() + silence + silence / 3;
    while std::time::Instant::now() < deadline {
        server.bookmark();
        std::thread::sleep(silence / 10);
    }
    assert_eq!(watches(), before, "bookmarks are signs of life");
}

#[test]
fn a_server_that_went_back_is_listed_again() {
    let server = server();
    let version = server.version();
    for port in 1..5 {
        server.apply(service("lost", "10.96.0.12", port)).unwrap();
    }
    let silence = Duration::from_millis(400);
    let mut follower = Follower::with(&server, |cluster: &mut Cluster| cluster.silence = silence);
    follower.catch_up(&server);
    server.restore(version);
    server.apply(service("after", "10.96.0.13", 1)).unwrap();
    // It says nothing of what is older than what it is asked for.
    follower.catch_up(&server);
}
