use super::follow::{reflect, strategies};
use super::{client, known, pod, run, server, truth, until};
use futures::future::join_all;
use kube::runtime::watcher;
use serde_json::json;
use sluice_apiserver::{Fault, Rule};

/// Any changes and faults in any order; not reordered events, as a stream that is cut after one of them has lost the other.
async fn history(seed: u64, name: &str, config: watcher::Config) {
    let mut random = fastrand::Rng::with_seed(seed);
    let server = server();
    let everything = reflect(client(&server).await, config.clone());
    let selected = reflect(client(&server).await, config.labels("app=web"));
    for _ in 0..120 {
        let name = format!("p{}", random.u8(..12));
        match random.u8(..20) {
            0 => server.compact(),
            1 => server.lines().close_all(),
            2 => server.bookmark(),
            3..=5 => {
                let fault = match random.u8(..6) {
                    0 => Fault::Cut,
                    1 => Fault::Garbage,
                    2 => Fault::Duplicate,
                    3 => Fault::Expired,
                    4 => Fault::Answer {
                        code: [410, 429, 500, 503][random.usize(..4)],
                        retry_after: None,
                    },
                    _ => Fault::Answer {
                        code: 403,
                        retry_after: None,
                    },
                };
                server.fault(Rule::of(fault).on("pods").times(random.u32(1..3)));
            }
            6..=9 => {
                server.delete("pods", Some("default"), &name);
            }
            10 => tokio::time::sleep(std::time::Duration::from_millis(random.u64(..4))).await,
            _ => {
                let app = ["web", "db"][random.usize(..2)];
                server
                    .apply(pod(&name, json!({"app": app, "n": random.u8(..).to_string()})))
                    .unwrap();
            }
        }
        tokio::task::yield_now().await;
    }
    server.faults().clear();
    let what = format!("seed {seed}, {name}");
    until(&what, || known(&everything) == truth(&server, None)).await;
    until(&what, || known(&selected) == truth(&server, Some(("app", "web")))).await;
}

#[test]
fn after_any_history_of_changes_and_faults_the_stores_are_equal() {
    run(async {
        for (name, config) in strategies() {
            join_all((0..6).map(|seed| history(seed, name, config.clone()))).await;
        }
    });
}
