//! Every fault of answers and streams, alone.

use super::cluster::{Follower, Ours, server};
use super::objects::{NODE, OTHER, pod, pods_of_app, policy, service};
use sluice_apiserver::{Fault, Rule, site};
use std::sync::Mutex;

/// Changes of some kinds, some of which meet the fault.
fn churn(ours: &Ours, round: u8) {
    for n in 0..6 {
        ours.apply(pod(&format!("p{n}"), NODE, &format!("198.18.1.{}", 10 * round + n)));
        ours.apply(pod(&format!("q{n}"), OTHER, &format!("198.18.2.{}", 10 * round + n)));
    }
    ours.delete("pods", "p4");
    ours.apply(service("web", 80 + u16::from(round)));
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

#[derive(Debug)]
struct Case {
    rule: Rule,
    streamed: bool,
    from_the_start: bool,
}

fn try_it(case: &Case) {
    let ours = server();
    ours.front().watch_list(case.streamed);
    ours.apply(policy("apps", &pods_of_app()));
    if case.from_the_start {
        ours.front().fault(case.rule.clone());
    }
    let mut follower = Follower::of(&ours);
    if !case.from_the_start {
        follower.catch_up(&ours);
        ours.front().fault(case.rule.clone());
        ours.front().lines().close_all();
    }
    churn(&ours, 1);
    follower.catch_up(&ours);
    ours.front().faults().clear();
    churn(&ours, 2);
    follower.catch_up(&ours);
    follower.until("nothing is wrong any more", |f| f.problems.is_empty());
}

#[test]
fn what_is_known_ends_equal_under_every_fault_of_streams_and_answers() {
    let mut cases = Vec::new();
    for streamed in site::modes() {
        for from_the_start in [true, false] {
            cases.extend(faults().into_iter().map(|rule| Case {
                rule,
                streamed: *streamed,
                from_the_start,
            }));
        }
    }
    // They mostly wait; but whoever shares one server hears of all changes of all others.
    let together = if site::is_real() { 6 } else { cases.len() };
    let cases = Mutex::new(cases);
    let next = || cases.lock().unwrap().pop();
    std::thread::scope(|scope| {
        for _ in 0..together {
            scope.spawn(|| {
                while let Some(case) = next() {
                    try_it(&case);
                }
            });
        }
    });
}
