//! Decides which addresses and node ports a Service gets that names none, as every API server gives them out. It never takes back what was
//! given: there are enough of them for any test.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicU16, Ordering};

/// Given out in turn, in a part of the usual range where no test writes addresses of its own.
static ADDRESSES: AtomicU16 = AtomicU16::new(1);
static PORTS: AtomicU16 = AtomicU16::new(0);
const FIRST_PORT: u16 = 31_768;
const PORT_COUNT: u16 = 1000;

fn address() -> String {
    let [high, low] = ADDRESSES.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    format!("10.111.{high}.{low}")
}

fn port() -> u16 {
    FIRST_PORT + PORTS.fetch_add(1, Ordering::Relaxed) % PORT_COUNT
}

/// Completes a Service: what was given out before stays, as long as its type needs it.
pub(crate) fn complete(old: Option<&Value>, service: &mut Value) {
    let kind = service["spec"]["type"].as_str().unwrap_or("ClusterIP").to_owned();
    if kind == "ExternalName" {
        return;
    }
    addresses(old, &mut service["spec"]);
    if kind == "NodePort" || kind == "LoadBalancer" {
        let before = old.map(|old| old["spec"]["ports"].clone()).unwrap_or_default();
        for port in service["spec"]["ports"].as_array_mut().into_iter().flatten() {
            node_port(&before, port);
        }
    }
}

fn addresses(old: Option<&Value>, spec: &mut Value) {
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let before = old.map(|old| old["spec"][field].clone()).unwrap_or_default();
        if spec[field].is_null() && !before.is_null() {
            spec[field] = before;
        }
    }
    let missing = |value: &Value| value.as_str().is_none_or(str::is_empty);
    if missing(&spec["clusterIP"]) {
        spec["clusterIP"] = match spec["clusterIPs"][0].as_str() {
            Some(first) => first.into(),
            None => address().into(),
        };
    }
    if spec["clusterIPs"].is_null() {
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
    }
    let family = |value: &Value| {
        let six = value.as_str().is_some_and(|text| text.contains(':'));
        if six { "IPv6" } else { "IPv4" }
    };
    let all = spec["clusterIPs"].as_array().cloned().unwrap_or_default();
    if spec["ipFamilies"].is_null() {
        spec["ipFamilies"] = all.iter().map(family).collect();
    }
    if spec["ipFamilyPolicy"].is_null() {
        spec["ipFamilyPolicy"] = if all.len() > 1 {
            "PreferDualStack"
        } else {
            "SingleStack"
        }
        .into();
    }
}

/// A port that names none keeps the one that the same port had.
fn node_port(before: &Value, new: &mut Value) {
    if new["nodePort"].as_u64().is_some_and(|given| given > 0) {
        return;
    }
    let same = |old: &&Value| old["port"] == new["port"] && old["protocol"] == new["protocol"];
    let had = before.as_array().into_iter().flatten().find(same);
    new["nodePort"] = match had.map(|old| &old["nodePort"]) {
        Some(given) if !given.is_null() => given.clone(),
        _ => port().into(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_out_stays_and_what_is_named_is_kept() {
        let mut made = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
        complete(None, &mut made);
        let mut again = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}]}});
        complete(Some(&made), &mut again);
        assert_eq!(again["spec"]["clusterIPs"], made["spec"]["clusterIPs"]);
        assert_eq!(
            again["spec"]["ports"][0]["nodePort"],
            made["spec"]["ports"][0]["nodePort"]
        );
        assert!(again["spec"]["ports"][1]["nodePort"].is_u64());
        let mut six = json!({"spec": {"clusterIP": "fd00::1", "ports": []}});
        complete(None, &mut six);
        assert_eq!(
            (&six["spec"]["clusterIPs"], &six["spec"]["ipFamilies"]),
            (&json!(["fd00::1"]), &json!(["IPv6"]))
        );
        let mut outside = json!({"spec": {"type": "ExternalName", "externalName": "example.com"}});
        complete(None, &mut outside);
        assert!(outside["spec"]["clusterIP"].is_null());
    }
}
