//! Probes and metrics, asked as kubelet, load balancers and Prometheus ask.

use crate::clients::echoes;
use crate::cluster::*;
use serde_json::{Value, json};
use sluice_lab::Node;

/// Status and body.
fn ask(node: &Node<'_>, url: &str) -> (u16, String) {
    let out = node
        .run(&["curl", "-sS", "--max-time", "5", "-w", "\n%{http_code}", url])
        .unwrap();
    let (body, status) = out
        .stdout
        .trim_end()
        .rsplit_once('\n')
        .unwrap_or_else(|| panic!("{url}: {out:?}"));
    (status.parse().unwrap(), body.trim_end().to_owned())
}

fn metric(page: &str, row: &str) -> f64 {
    let found = page.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {row} in\n{page}")).parse().unwrap()
}

const LIVEZ: &str = "http://127.0.0.1:9475/livez";
const READYZ: &str = "http://127.0.0.1:9475/readyz";
const METRICS: &str = "http://127.0.0.1:9475/metrics";
const HEALTHZ: &str = "http://192.0.2.11:10256/healthz";

#[test]
fn no_probe_fails_because_the_api_server_is_away_and_healthz_does_when_the_node_is_to_go() {
    in_lab_of_an_api_server(&two_nodes(), |lab, api| {
        let node = lab.node("node-a").unwrap();
        let well = || [LIVEZ, READYZ, HEALTHZ].iter().all(|url| ask(&node, url).0 == 200);
        assert!(well());
        api.server().lines().refuse(true);
        api.server().lines().close_all();
        lab.wait("the agent to say so", PATIENCE, || {
            let status = node.sluice_json(&["status"]).unwrap();
            status["source"]["problems"] != json!([])
        })
        .unwrap();
        assert!(well());
        api.server().lines().refuse(false);
        let mut own = api
            .server()
            .objects("nodes")
            .into_iter()
            .find(|n| n["metadata"]["name"] == "node-a");
        let mut own: Value = (*own.take().unwrap()).clone();
        own["spec"]["taints"] = json!([{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]);
        api.server().apply(own).unwrap();
        lab.wait("load balancers to be sent elsewhere", PATIENCE, || {
            ask(&node, HEALTHZ).0 == 503
        })
        .unwrap();
        let answer: Value = serde_json::from_str(&ask(&node, HEALTHZ).1).unwrap();
        assert_eq!(answer["nodeEligible"], false);
        assert_eq!((ask(&node, LIVEZ).0, ask(&node, READYZ).0), (200, 200));
        let page = ask(&node, METRICS).1;
        assert!(metric(&page, "sluice_source_heard_age_seconds") < 60.0);
        assert!(metric(&page, "sluice_source_changes_total{kind=\"Node\"}") > 2.0);
    });
}

#[test]
fn metrics_say_what_the_command_line_says() {
    in_lab(&two_nodes(), |lab| {
        let node = lab.node("node-a").unwrap();
        let user = lab.pod("user").unwrap();
        echoes(&user, (address(lab, "web-2", false), 7), 20);
        let page = node.sluice(&["metrics"]).unwrap().text().unwrap().to_owned();
        let port = "sluice_port_receive_packets_total{port=\"default/user\"}";
        assert!(metric(&page, port) >= 20.0);
        assert!(metric(&page, "sluice_connections") >= 20.0);
        assert!(metric(&page, "sluice_compile_duration_seconds_count") >= 1.0);
        let counters = node.sluice_json(&["counters", "--all"]).unwrap();
        let scraped = ask(&node, METRICS).1;
        for drop in counters["drops"].as_array().unwrap() {
            let row = format!(
                "sluice_drops_total{{reason={},group={}}}",
                drop["reason"], drop["group"]
            );
            assert!(metric(&scraped, &row) >= drop["packets"].as_f64().unwrap(), "{row}");
        }
        for total in counters["totals"].as_object().unwrap().keys() {
            let name = total.trim_end_matches("_frames").trim_end_matches("_bytes");
            assert!(
                scraped.contains(name) || ["renewed", "decided_again", "races_lost"].contains(&name),
                "{total}"
            );
        }
    });
}

/// As on a node where kube-proxy still runs.
#[test]
fn a_port_that_another_program_holds_is_told_and_taken_once_it_is_free() {
    in_lab(&two_nodes(), |lab| {
        let node = lab.node("node-a").unwrap();
        node.stop_agent().unwrap();
        let held = node
            .spawn(&["socat", "TCP6-LISTEN:10256,fork,reuseaddr", "EXEC:cat"])
            .unwrap();
        let listens = || node.run(&["ss", "-Hlnt"]).unwrap().stdout.contains(":10256 ");
        lab.wait("the other program to listen", PATIENCE, listens).unwrap();
        node.start_agent().unwrap();
        let told = || {
            warnings(&node)
                .iter()
                .any(|w| w["text"].as_str().unwrap().contains("kube-proxy perhaps"))
        };
        lab.wait("the agent to say so", PATIENCE, told).unwrap();
        assert_eq!((ask(&node, LIVEZ).0, ask(&node, READYZ).0), (200, 200));
        drop(held);
        lab.wait("the port to be served", PATIENCE, || {
            !told() && ask(&node, HEALTHZ).0 == 200
        })
        .unwrap();
    });
}

#[test]
fn the_log_changes_while_the_agent_runs() {
    in_lab(&two_nodes(), |lab| {
        let node = lab.node("node-a").unwrap();
        let shown = node.sluice(&["log"]).unwrap().text().unwrap().to_owned();
        assert!(shown.starts_with("the agent's log writes "), "{shown}");
        let set = node.sluice_json(&["log", "warn,sluice_control=debug"]).unwrap();
        assert_eq!(set["filter"], "warn,sluice_control=debug");
        lab.edit("service-default-web.yaml", |service| {
            service["spec"]["sessionAffinity"] = json!("ClientIP");
        })
        .unwrap();
        lab.wait("the log to say more", PATIENCE, || {
            std::fs::read_to_string(node.agent_log()).unwrap().contains("published")
        })
        .unwrap();
        let refused = node.sluice(&["log", "loud"]).unwrap();
        assert!(
            refused.text().is_err() && refused.stderr.contains("want one of off, error"),
            "{refused:?}"
        );
        node.sluice(&["log", "default"]).unwrap().text().unwrap();
        assert_eq!(node.sluice(&["log"]).unwrap().text().unwrap(), shown);
    });
}
