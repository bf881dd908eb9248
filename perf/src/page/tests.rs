//! The page is well-formed, asks for nothing, and shows what the results say; whatever text the results have.

use super::chart::{Chart, Kind, Series, Value, short};
use super::data::{self, Data, Spread};
use super::document::document;
use super::draw::ceiling;
use super::{figures, peers};
use crate::report::summary::Entry;
use html5ever::driver::parse_document;
use html5ever::tendril::TendrilSink;
use markup5ever_rcdom::{Handle, NodeData, RcDom};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn point(case: &str, flows: u32, ns: f64) -> Json {
    json!({
        "name": format!("pipeline/{case}/{flows}"), "case": case, "steps": format!("steps of {case}"), "size": 64, "family": "IPv4",
        "flows": flows, "workers": 1, "services": 1, "policies": 1, "churn": 0,
        "ns_at_reference": { "median": ns, "low": ns * 0.9, "high": ns * 1.2 },
        "goal_ns_at_reference": (case == "service-out").then_some(35.0),
        "something": "that is not known",
    })
}

fn entry(name: &str, value: f64, met: Option<bool>) -> Entry {
    Entry {
        name: name.into(),
        value,
        low: value * 0.9,
        high: value * 1.1,
        unit: "us".into(),
        goal: met.map(|_| 1.0),
        met,
    }
}

/// What `compare` writes, with what this page does not know.
fn compare(text: &str) -> Json {
    let side = |probe: &str, peer: &str, services: u32, p50: f64| {
        let figure = |name: &str, unit: &str, value: f64| json!({ "name": name, "unit": unit, "spread": { "median": value, "low": value * 0.9, "high": value * 1.1 }, "more_is_better": false });
        let figures = [
            figure("p50", "us", p50),
            figure("p99", "us", 2.0 * p50),
            figure("cpu", "CPU s", 1.0),
        ];
        json!({ "probe": probe, "services": services, "policies": 1, "peer": peer, "figures": figures, "rounds": [], "title": (probe != text).then_some(probe.to_uppercase()) })
    };
    json!({
        "machine": { "cpu": text, "mhz": text, "cores": 1, "kernel": text, "commit": text },
        "plan": {}, "peers": [{ "name": "sluice", "about": text, "settings": [{ "name": text, "value": "2", "usual": text }] }],
        "tcp_congestion_control": text, "notes": [{ "text": text, "warns": true }],
        "series": [
            side("latency", "kernel-iptables", 1, 40.0), side("latency", "sluice", 1, 30.0), side("latency", "sluice", 10_000, 31.0),
            side(text, text, 1, 9.0),
        ],
    })
}

/// All kinds of results, with `text` wherever text comes from elsewhere.
fn data(text: &str) -> Data {
    let machine = json!({ "cpu": text, "mhz": text, "cores": 2, "kernel": text, "commit": text });
    let points = [
        ("service-out", 1, 30.0),
        ("service-out", 10_000, 40.0),
        ("vxlan-in", 1, 20.0),
        ("vxlan-in", 10_000, 25.0),
    ];
    let mut points: Vec<Json> = points.map(|(case, flows, ns)| point(case, flows, ns)).into();
    for (services, size) in [
        (100, json!(64)),
        (10_000, json!(64)),
        (1, json!(1500)),
        (1, json!("imix")),
    ] {
        let mut point = point("service-out", 10_000, 41.0);
        (point["services"], point["size"], point["steps"]) = (json!(services), size, json!(text));
        points.push(point);
    }
    let pipeline = json!({
        "machine": machine, "date": text, "reference_ghz": 3.85, "plan": { "runs": 10, "seed": text }, "points": points, "waiting": 0.5,
    });
    let instructions = json!({
        "machine": machine, "rustc": text, "target_cpu": text, "cases": { text: { "instructions": 612.5 } },
        "memory": { "cache_entry": 200, "connection": 300 },
    });
    let summary = vec![
        entry("pipeline/a", 0.5, Some(true)),
        entry("pipeline/b", 2.0, Some(false)),
        entry("pipeline/c", 3.0, None),
        entry(text, 1.0, Some(true)),
    ];
    Data {
        pipeline: Some(serde_json::from_value(pipeline).unwrap()),
        instructions: Some(serde_json::from_value(instructions).unwrap()),
        compare: Some(serde_json::from_value(compare(text)).unwrap()),
        summary,
    }
}

/// A name and its attributes.
type Element = (String, Vec<(String, String)>);

/// All elements, and all text outside of style sheets; mistakes are a panic.
fn parse(page: &str) -> (Vec<Element>, String) {
    fn walk(node: &Handle, elements: &mut Vec<Element>, text: &mut String) {
        match &node.data {
            NodeData::Element { name, attrs, .. } => {
                let attrs = attrs.borrow();
                let attrs = attrs.iter().map(|a| (a.name.local.to_string(), a.value.to_string()));
                elements.push((name.local.to_string(), attrs.collect()));
                if &*name.local == "style" {
                    return;
                }
            }
            NodeData::Text { contents } => text.push_str(&contents.borrow()),
            _ => {}
        }
        node.children
            .borrow()
            .iter()
            .for_each(|child| walk(child, elements, text));
    }
    let dom: RcDom = parse_document(RcDom::default(), Default::default()).one(page);
    let errors = dom.errors.borrow();
    assert!(errors.is_empty(), "the page is not well-formed: {errors:?}\n{page}");
    let (mut elements, mut text) = (Vec::new(), String::new());
    walk(&dom.document, &mut elements, &mut text);
    (elements, text)
}

/// Nothing is run, and nothing is asked for from anywhere.
fn assert_self_contained(page: &str) {
    let (elements, _) = parse(page);
    for (name, attrs) in &elements {
        let asks = [
            "script", "link", "img", "iframe", "object", "embed", "base", "image", "use", "form", "audio", "video",
            "source", "a",
        ];
        assert!(!asks.contains(&&name[..]), "<{name}>");
        for (attr, _) in attrs {
            let asks = ["src", "href", "srcset", "action", "data", "style", "http-equiv"].contains(&&attr[..])
                || attr.starts_with("on");
            assert!(!asks, "<{name} {attr}>");
        }
    }
    let style = include_str!("style.css");
    assert!(!style.contains("url(") && !style.contains("@import") && !style.contains("http") && !style.contains('<'));
}

#[test]
fn the_page_is_well_formed_asks_for_nothing_and_says_what_was_measured() {
    let mut data = data("feature/x");
    let compare = data.compare.as_mut().unwrap();
    let set = &mut compare.peers[0].settings[0];
    (set.name, set.usual) = ("limits.new_flows".into(), "1".into());
    compare.tcp_congestion_control = Some("cubic".into());
    compare.notes[0].text = "figures may be its own".into();
    let page = document(&data).into_string();
    assert_self_contained(&page);
    let (elements, text) = parse(&page);
    for words in [
        "2 of 3 goals met",
        "feature/x",
        "Cost of a packet, by connections",
        "Cost of a packet, by services",
        "Cost of a packet, by frame size",
        "40.0 (36.0 .. 48.0), goal 35.0",
        "IMIX",
        "kernel-iptables",
        "60.0 (54.0 .. 66.0)",
        "612",
        "700 bytes",
        "workers waited 50 %",
        "limits.new_flows 2 (usually 1)",
        "TCP congestion control cubic",
        "figures may be its own",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let count = |name: &str| elements.iter().filter(|(element, _)| element == name).count();
    assert_eq!(count("figure"), 9);
    assert_eq!(count("details"), count("figure"), "a table beneath each picture");
    let pictures = elements
        .iter()
        .filter(|(name, attrs)| name == "svg" && attrs.contains(&("role".into(), "img".into())));
    assert!(
        pictures.clone().count() == 9
            && pictures
                .clone()
                .all(|(_, attrs)| attrs.iter().any(|(name, _)| name == "aria-label"))
    );
}

#[test]
fn text_from_elsewhere_is_text_and_nothing_more() {
    for hostile in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "</style></svg>&amp;<!--",
        "'; -->",
    ] {
        let page = document(&data(hostile)).into_string();
        assert_self_contained(&page);
        let (_, text) = parse(&page);
        // Cpu, kernel and commit of two machines, date, names of series, goals and cases.
        assert!(text.matches(hostile).count() >= 8, "{hostile}: {text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_text_and_any_figures_make_a_page(text in "[^\0\r\u{1}-\u{8}\u{b}\u{c}\u{e}-\u{1f}\u{7f}-\u{9f}]{0,40}", ns in prop::num::f64::ANY) {
        let mut data = data(&text);
        if let Some(pipeline) = &mut data.pipeline {
            for point in &mut pipeline.points {
                point.ns_at_reference.median = ns;
                point.ns_at_reference.high = -ns;
            }
        }
        let page = document(&data).into_string();
        prop_assert!(!page.contains("NaN") || text.contains("NaN"));
        if text.chars().all(|c| !('\u{fdd0}'..='\u{fdef}').contains(&c) && (c as u32) & 0xfffe != 0xfffe) {
            assert_self_contained(&page);
        }
    }
}

#[test]
fn charts_vary_one_thing_each() {
    let data = data("x");
    let charts = figures::charts(data.pipeline.as_ref().unwrap());
    let found: Vec<(&str, Vec<&str>, usize)> = charts
        .iter()
        .map(|chart| {
            (
                &chart.label[..],
                chart.places.iter().map(String::as_str).collect(),
                chart.series.len(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("connections", vec!["1", "10,000"], 2),
            ("services", vec!["1", "100", "10,000"], 1),
            ("bytes", vec!["64", "1,500", "IMIX"], 1),
        ]
    );
}

#[test]
fn peers_stand_side_by_side_for_each_unit() {
    let charts = peers::charts(&serde_json::from_value(compare("x")).unwrap());
    let titles: Vec<(&str, &str)> = charts.iter().map(|chart| (&chart.title[..], &chart.unit[..])).collect();
    let many = |figures: &str| format!("LATENCY, 10,000 services: {figures}");
    assert_eq!(
        titles,
        [
            ("LATENCY: p50, p99", "us"),
            ("LATENCY: cpu", "CPU s"),
            (&many("p50, p99"), "us"),
            (&many("cpu"), "CPU s"),
            ("x: p50, p99", "us"),
            ("x: cpu", "CPU s")
        ]
    );
    assert_eq!(charts[0].places, ["p50", "p99"]);
    let medians = |chart: usize, peer: usize| {
        let series = &charts[chart].series[peer];
        (
            &series.name[..],
            series.values.iter().map(|v| v.map(|v| v.at.median)).collect::<Vec<_>>(),
        )
    };
    assert_eq!(medians(0, 0), ("kernel-iptables", vec![Some(40.0), Some(80.0)]));
    assert_eq!(medians(0, 1), ("sluice", vec![Some(30.0), Some(60.0)]));
    assert_eq!(medians(2, 0), ("sluice", vec![Some(31.0), Some(62.0)]));
}

#[test]
fn scales_are_round_and_never_too_low() {
    for value in [0.3, 1.0, 9.9, 10.1, 436.0, 1041.0, 4e6] {
        let top = ceiling(value);
        assert!(top >= value && top <= value * 1.7, "{value}: {top}");
    }
    assert_eq!([f64::NAN, f64::INFINITY, 0.0, -1.0].map(ceiling), [1.0; 4]);
    assert_eq!(
        [0.123, 12.34, 123.4, 54_321.0, 123_456.0, 2.5e6].map(short),
        ["0.12", "12.3", "123", "54321", "123 k", "2.50 M"]
    );
}

#[test]
fn everything_drawn_lies_in_the_picture() {
    let value = |median: f64| {
        Some(Value {
            at: Spread {
                median,
                low: 0.0,
                high: median * 3.0,
            },
            goal: Some(median * 2.0),
        })
    };
    for kind in [Kind::Lines, Kind::Bars] {
        let chart = Chart {
            title: "t".into(),
            about: String::new(),
            label: "l".into(),
            unit: "u".into(),
            kind,
            places: (0..9).map(|n| n.to_string()).collect(),
            series: (0..9)
                .map(|n| Series {
                    name: n.to_string(),
                    values: (0..9).map(|place| value(f64::from(place * n))).collect(),
                })
                .collect(),
        };
        let page = super::draw::figure(&chart).into_string();
        let (elements, _) = parse(&format!(
            "<!DOCTYPE html><html><head><title>t</title></head><body>{page}</body></html>"
        ));
        for (name, attrs) in &elements {
            for (attr, value) in attrs {
                let limit = match &attr[..] {
                    "x" | "x1" | "x2" | "width" => 520.0,
                    "y" | "y1" | "y2" | "height" => 300.0,
                    _ => continue,
                };
                let place: f64 = value.parse().unwrap();
                assert!((0.0..=limit).contains(&place), "<{name} {attr}={value}>");
            }
        }
    }
}

#[test]
fn results_that_are_missing_are_not_shown_and_broken_ones_are_named() {
    let folder = std::env::temp_dir().join(format!("sluice-perf-page-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let nothing = data::read(&folder).unwrap_err().to_string();
    let entries = serde_json::to_string(&[entry("pipeline/a", 1.0, Some(true))]).unwrap();
    std::fs::write(folder.join("summary.json"), entries).unwrap();
    let some = data::read(&folder);
    std::fs::write(folder.join("pipeline.json"), "{}").unwrap();
    let broken = data::read(&folder).unwrap_err().to_string();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(nothing.contains("make bench"), "{nothing}");
    assert_self_contained(&document(&some.unwrap()).into_string());
    assert!(broken.contains("pipeline.json"), "{broken}");
}
