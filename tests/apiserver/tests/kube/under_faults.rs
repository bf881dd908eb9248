use super::follow::{reflect, strategies};
use super::{client, config, known, pod, run, server, truth, until};
use futures::future::join_all;
use kube::Client;
use kube::runtime::watcher;
use serde_json::json;
use sluice_apiserver::{Denial, Fault, Rule, Server};
use std::time::Duration;

/// Changes of all kinds, some of which meet the fault.
fn churn(server: &Server) {
    for n in 0..6 {
        server.apply(pod(&format!("p{n}"), json!({"round": "2"}))).unwrap();
    }
    server.delete("pods", Some("default"), "p4");
    server.apply(pod("p7", json!({}))).unwrap();
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
    let mut rules: Vec<Rule> = events.map(|fault| Rule::of(fault).on("pods").times(2)).to_vec();
    for code in [401, 403, 410, 429, 500, 503, 504] {
        rules.push(Rule::of(answer(code)).on("pods").for_verb("watch").times(1));
        rules.push(Rule::of(answer(code)).on("pods").for_verb("list").times(1));
    }
    rules
}

async fn case(name: &str, rule: Rule, config: watcher::Config, from_the_start: bool) {
    let server = server();
    for n in 0..5 {
        server.apply(pod(&format!("p{n}"), json!({}))).unwrap();
    }
    let what = format!("{name}, {rule:?}, from the start: {from_the_start}");
    if from_the_start {
        server.fault(rule.clone());
    }
    let store = reflect(client(&server).await, config);
    if !from_the_start {
        until(&what, || known(&store) == truth(&server, None)).await;
        server.fault(rule);
        server.lines().close_all();
    }
    churn(&server);
    until(&what, || known(&store) == truth(&server, None)).await;
    server.faults().clear();
    churn(&server);
    server.apply(pod("last", json!({}))).unwrap();
    until(&what, || known(&store) == truth(&server, None)).await;
}

#[test]
fn the_store_ends_equal_under_every_fault_of_streams_and_answers() {
    run(async {
        for (name, config) in strategies() {
            let cases = faults()
                .into_iter()
                .flat_map(|rule| [(rule.clone(), true), (rule, false)]);
            join_all(cases.map(|(rule, start)| case(name, rule, config.clone(), start))).await;
        }
    });
}

#[test]
fn a_stalled_stream_catches_up() {
    run(async {
        for (name, config) in strategies() {
            let server = server();
            let store = reflect(client(&server).await, config);
            server.apply(pod("a", json!({}))).unwrap();
            until(name, || known(&store).len() == 1).await;
            let id = server.fault(Rule::of(Fault::Stall).on("pods"));
            churn(&server);
            until(name, || server.faults().struck(id) > 0).await;
            assert_eq!(known(&store).len(), 1, "{name}");
            server.faults().clear_one(id);
            until(name, || known(&store) == truth(&server, None)).await;
        }
    });
}

#[test]
fn connections_that_close_are_refused_or_die_silently_are_made_again() {
    run(async {
        for (name, strategy) in strategies() {
            let server = server();
            let mut config = config(&server, None).await;
            (config.read_timeout, config.connect_timeout) =
                (Some(Duration::from_millis(300)), Some(Duration::from_millis(300)));
            let store = reflect(Client::try_from(config).unwrap(), strategy);
            churn(&server);
            until(name, || known(&store) == truth(&server, None)).await;
            server.lines().close_all();
            server.apply(pod("closed", json!({}))).unwrap();
            until(name, || known(&store) == truth(&server, None)).await;
            server.lines().refuse(true);
            server.lines().close_all();
            server.apply(pod("refused", json!({}))).unwrap();
            server.lines().refuse(false);
            until(name, || known(&store) == truth(&server, None)).await;
            server.lines().half_open(true);
            let connections = server.counters().json()["connections"].as_u64().unwrap();
            server.apply(pod("silent", json!({}))).unwrap();
            let tried = || server.counters().json()["connections"].as_u64().unwrap() > connections;
            until(name, tried).await;
            server.lines().half_open(false);
            until(name, || known(&store) == truth(&server, None)).await;
        }
    });
}

#[test]
fn what_is_forbidden_or_expired_is_had_once_it_is_granted() {
    run(async {
        let server = server();
        server.apply(pod("a", json!({}))).unwrap();
        server.access().allow_token("good", "system:node:n1");
        let denial = Denial::of("watch", "pods");
        server.deny(denial.clone());
        let config = config(&server, Some("good")).await;
        let store = reflect(Client::try_from(config).unwrap(), watcher::Config::default());
        until("a list, as only the watch is forbidden", || known(&store).len() == 1).await;
        server.apply(pod("b", json!({}))).unwrap();
        server.access().grant(&denial);
        until("granted", || known(&store) == truth(&server, None)).await;
        let watches = || server.counters().requests("watch", "pods");
        let before = watches();
        server.access().expire_token("good");
        // A stream that is open goes on, so it has to be gone before the next change.
        server.lines().close_all();
        until("refused", || watches() > before).await;
        server.apply(pod("c", json!({}))).unwrap();
        until("refused again", || watches() > before + 2).await;
        assert_eq!(known(&store).len(), 2);
        server.access().allow_token("good", "system:node:n1");
        until("let in", || known(&store) == truth(&server, None)).await;
    });
}

#[test]
fn a_cache_that_is_behind_after_a_fail_over_catches_up() {
    run(async {
        for (name, strategy) in strategies() {
            let server = server();
            churn(&server);
            let store = reflect(client(&server).await, strategy);
            until(name, || known(&store) == truth(&server, None)).await;
            let watches = || server.counters().requests("watch", "pods");
            // A client that has only listed would have no stream to lose.
            until(&format!("{name}: a stream"), || watches() > 0).await;
            let before = watches();
            let then = server.version();
            server.lag(Some(then));
            server.lines().close_all();
            server.apply(pod("late", json!({}))).unwrap();
            until(&format!("{name}: a new stream"), || watches() > before).await;
            server.lag(None);
            until(name, || known(&store) == truth(&server, None)).await;
        }
    });
}
