//! Input that nobody meant well.

use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_control::model::{Kind, Object};
use sluice_control::objects::decode;
use sluice_control::source::{Claims, Limits, VALUE, YamlLimits, documents, read_text};
use sluice_policy::{Action, Peer, Rule};

const GOOD: &str = include_str!("good.yaml");

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "10.0.0.1",
            "::1",
            "10.0.0.0/8",
            "TCP",
            "None",
            "ClientIP",
            "Ingress",
            "Admin",
            "Accept",
            "Deny",
            "Pass",
            "a=b"
        ])
        .prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "metadata",
        "name",
        "namespace",
        "labels",
        "annotations",
        "spec",
        "status",
        "ports",
        "port",
        "endPort",
        "protocol",
        "clusterIP",
        "clusterIPs",
        "endpoints",
        "addresses",
        "addressType",
        "conditions",
        "ready",
        "podSelector",
        "ingress",
        "egress",
        "from",
        "to",
        "ipBlock",
        "cidr",
        "except",
        "policyTypes",
        "matchExpressions",
        "podIPs",
        "ip",
        "podCIDRs",
        "sluice.io/weights",
        "flannel.alpha.coreos.com/backend-data",
        "containers",
        "type",
        "nodePort",
        "sessionAffinity",
        "tier",
        "priority",
        "subject",
        "namespaces",
        "pods",
        "nodes",
        "networks",
        "domainNames",
        "action",
        "protocols",
        "tcp",
        "destinationPort",
        "destinationNamedPort",
        "number",
        "range",
        "start",
        "end",
    ]);
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..6).prop_map(|pairs| pairs
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = documents(&String::from_utf8_lossy(&bytes), Limits::default().yaml);
    }

    #[test]
    fn text_like_yaml_is_read_or_refused(text in "[-a-c:,&*!|>{}\\[\\]'\"#%@?~ \n\t0-9.]{0,200}") {
        let _ = read_text("f.yaml", &text, Limits::default().yaml);
    }

    #[test]
    fn a_good_manifest_spoilt_anywhere_is_read_or_refused(
        spoils in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..6),
    ) {
        let mut bytes = GOOD.as_bytes().to_vec();
        for (at, byte, how) in spoils {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                bytes.push(b' ');
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let mut claims = Claims::default();
        claims.update("f.yaml", read_text("f.yaml", GOOD, Limits::default().yaml));
        claims.update("f.yaml", read_text("f.yaml", &text, Limits::default().yaml));
    }

    #[test]
    fn any_value_is_decoded_or_refused(value in values()) {
        for kind in Kind::ALL {
            let decoded = decode(kind, value.clone());
            prop_assert!(decoded.object.is_none() || decoded.faults.iter().all(|fault| fault.left_out.is_some()));
            if let (Some(object), Some(key)) = (decoded.object, decoded.key) {
                prop_assert_eq!(object.key(), key);
            }
        }
    }
}

/// Two rules, one around every form of peer and port that there is.
fn cluster_policy() -> Value {
    let rule = |action| {
        json!({"name": "r", "action": action,
            "to": [{"namespaces": {"matchLabels": {"a": "b"}}}, {"networks": ["10.0.0.0/8"]},
                {"pods": {"namespaceSelector": {}, "podSelector": {"matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}]}}}],
            "protocols": [{"tcp": {"destinationPort": {"number": 80}}}, {"udp": {"destinationPort": {"range": {"start": 1, "end": 2}}}}]})
    };
    json!({"metadata": {"name": "p"}, "spec": {"tier": "Admin", "priority": 0, "subject": {"namespaces": {}},
        "egress": [rule("Accept"), rule("Deny"), rule("Pass")]}})
}

fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let inside: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(n, value)| (n.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    inside
        .iter()
        .for_each(|(key, value)| places(value, &format!("{at}/{key}"), found));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever becomes of one rule, it is understood without a word of complaint, or closed, or the object is not served.
    #[test]
    fn a_spoilt_rule_of_a_cluster_policy_is_closed_and_leaves_the_others_alone(
        at in 0usize..3, place in any::<prop::sample::Index>(), value in values(), remove in any::<bool>(), add in "[a-z]{1,9}",
    ) {
        let record = |value: Value| {
            let decoded = decode(Kind::ClusterNetworkPolicy, value);
            let Some(Object::ClusterPolicy(record)) = decoded.object else { return None };
            Some((record, decoded.faults))
        };
        let (good, _) = record(cluster_policy()).unwrap();
        let mut odd = cluster_policy();
        let rule = odd.pointer_mut(&format!("/spec/egress/{at}")).unwrap();
        let mut found = Vec::new();
        places(rule, "", &mut found);
        let spot = rule.pointer_mut(place.get(&found).as_str()).unwrap();
        match spot {
            Value::Object(map) if remove => _ = map.insert(add, value),
            spot => *spot = value,
        }
        let Some((record, faults)) = record(odd) else { return Ok(()) };
        let (rules, before) = (&record.policy.egress, &good.policy.egress);
        prop_assert_eq!(rules.len(), before.len());
        for (n, rule) in rules.iter().enumerate() {
            if n != at {
                prop_assert_eq!(rule, &before[n]);
            } else if !faults.is_empty() || !record.not_honoured.is_empty() {
                let nobody = Peer::Pods { namespaces: None, pods: None };
                let closed = match rule.action {
                    Action::Accept => rule.fits.peers == [nobody],
                    Action::Deny => rule.fits == Rule::default(),
                    Action::Pass => false,
                };
                prop_assert!(closed, "{:?} {:?} {:?}", rule, faults, record.not_honoured);
            }
        }
    }
}

fn refusal(text: &str, limits: YamlLimits) -> String {
    documents(text, limits).expect_err("was accepted").to_string()
}

#[test]
fn the_good_manifest_is_good() {
    let reading = read_text("f.yaml", GOOD, Limits::default().yaml).unwrap();
    assert_eq!(reading.objects.len(), 7);
    assert!(
        reading
            .objects
            .iter()
            .all(|found| found.faults.is_empty() && found.object.is_some())
    );
}

#[test]
fn alias_bombs_are_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..20 {
        let one = format!("*a{}", i - 1);
        let ten = [one.as_str(); 10].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{ten}]\n"));
    }
    let limits = YamlLimits {
        nodes: 10_000,
        ..Limits::default().yaml
    };
    assert!(
        refusal(&bomb, limits).starts_with("line 4,"),
        "{}",
        refusal(&bomb, limits)
    );
    assert!(refusal("a: &a [*a]\n", limits).contains("alias"));
    let many = format!("---\na: &a [{}]\nb: [{}]\n", "x, ".repeat(40), "*a, ".repeat(60)).repeat(5);
    assert!(
        refusal(&many, limits).contains("more than 10000 values"),
        "of all documents together"
    );
    assert!(documents(&many, Limits::default().yaml).is_ok());
}

#[test]
fn few_aliases_of_a_long_text_are_refused() {
    let limits = YamlLimits {
        bytes: 10_000,
        ..Limits::default().yaml
    };
    let long = "x".repeat(1000);
    let aliases = |count| format!("a: &a {long}\nb: [{}]\n", "*a, ".repeat(count));
    assert!(documents(&aliases(8), limits).is_ok());
    for text in [
        aliases(9),
        format!("a: &a {{{long}: 1}}\nb: [{}]\n", "*a, ".repeat(9)),
        format!("---\n{}---\n{}", aliases(4), aliases(5)),
    ] {
        assert!(refusal(&text, limits).contains("aliases written out"), "{text}");
    }
}

/// What nobody follows is not built at all, and aliases cannot make much of little.
#[test]
fn aliases_stand_for_a_few_mebibytes_at_most() {
    let spread = |kind: &str, aliases: usize| {
        let labels: String = (0..200).map(|i| format!("l{i}: x, ")).collect();
        format!(
            "apiVersion: v1\nkind: {kind}\nmetadata: {{name: a, labels: &a {{{labels}}}}}\nmore: [{}]\n",
            "*a, ".repeat(aliases)
        )
    };
    let most = Limits::default().yaml.aliased / (201 * VALUE + 200 * 4 + 690);
    assert!(read_text("f.yaml", &spread("Pod", most - 20), Limits::default().yaml).is_ok());
    let error = read_text("f.yaml", &spread("Pod", most + 20), Limits::default().yaml).unwrap_err();
    assert!(error.text.contains("aliases stand for more than 4096 KiB"), "{error}");
}

#[test]
fn deep_and_wide_texts_are_refused() {
    let limits = YamlLimits {
        nodes: 1000,
        depth: 16,
        ..Limits::default().yaml
    };
    for deep in ["[".repeat(5000), "- ".repeat(5000), "{a: ".repeat(5000)] {
        refusal(&deep, limits);
    }
    let nested = "a: &a [[[[[[[[x]]]]]]]]\nb: &b [[[[[[[[*a]]]]]]]]\nc: [*b]\n";
    assert!(refusal(nested, limits).contains("nested deeper than 16 levels"));
    assert!(refusal(&"- x\n".repeat(2000), limits).contains("more than 1000 values"));
    assert!(refusal(&"---\nx\n".repeat(2000), limits).contains("more than 1000 values"));
}

#[test]
fn what_yaml_allows_and_kubernetes_does_not() {
    let limits = Limits::default().yaml;
    let cases = [
        (
            "a: 1\nb: 2\na: 3\n",
            "line 3, column 1: key `a` is given twice, first in line 1",
        ),
        (
            "a: !!python/object 1\n",
            "line 1, column 20: tags are not supported; leave it out",
        ),
        (
            "a: &x {b: 1}\nc:\n  <<: *x\n",
            "line 3, column 3: merge keys (`<<`) are not supported; write the fields out",
        ),
        ("? [a]\n: b\n", "line 1, column 3: a key must be a text"),
    ];
    for (text, want) in cases {
        assert_eq!(refusal(text, limits), want);
    }
    let nodes = documents("a: &x [1, yes]\nb: *x\n---\n\n---\nc: \"yes\"\n", limits).unwrap();
    let values: Vec<Value> = nodes.iter().map(|node| node.value()).collect();
    assert_eq!(values, [json!({"a": [1, true], "b": [1, true]}), json!({"c": "yes"})]);
    let tabbed = documents("{\n\t\"a\": [\n\t\t1\n\t]\n}\n", limits).expect("JSON indented with tabs");
    assert_eq!(tabbed[0].value(), json!({"a": [1]}));
}
