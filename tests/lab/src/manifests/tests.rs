use super::*;
use proptest::prelude::*;

fn any_value() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        "[ -~]{0,12}",
        "[a-z0-9./:-]{0,12}",
        Just("null".to_string()),
        Just("0x10".to_string()),
        ".{0,6}"
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(word.clone(), inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_reader_finds_what_was_written(value in any_value()) {
        let yaml = to_yaml(&value);
        let back: Value = serde_saphyr::from_str(&yaml).map_err(|e| TestCaseError::fail(format!("{e}\n{yaml}")))?;
        prop_assert_eq!(back, value, "{}", yaml);
    }
}

const LAB: &str = "
nodes:
  - {name: a, addresses: [192.0.2.11/24, '2001:db8::11/64'], podCIDRs: [10.244.1.0/24, 'fd00:244:1::/64']}
pods:
  - {name: web-1, node: a, addresses: [10.244.1.5, 'fd00:244:1::5'], labels: {app: web}, run: ['http:8080']}
  - {name: other, namespace: x, node: a, addresses: [10.244.1.6], labels: {app: web}}
services:
  - {name: web, clusterIPs: [10.96.0.10, 'fd00:96::a'], selector: {app: web}, ports: [{port: 80, targetPort: 8080}],
     spec: {sessionAffinity: ClientIP}}
objects:
  - {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny, namespace: x}, spec: {podSelector: {}}}
";

#[test]
fn writes_every_object_a_node_needs() {
    let files = objects(&Topology::parse(LAB).unwrap());
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "endpointslice-default-web-ipv4.yaml",
            "endpointslice-default-web-ipv6.yaml",
            "namespace-default.yaml",
            "namespace-x.yaml",
            "networkpolicy-x-deny.yaml",
            "node-a.yaml",
            "pod-other.yaml",
            "pod-web-1.yaml",
            "service-default-web.yaml",
        ]
    );
    let node = &files["node-a.yaml"];
    let notes = &node["metadata"]["annotations"];
    assert_eq!(
        notes["flannel.alpha.coreos.com/backend-data"],
        r#"{"VNI":1,"VtepMAC":"02:5c:00:00:00:01"}"#
    );
    assert_eq!(notes["flannel.alpha.coreos.com/public-ipv6"], "2001:db8::11");
    assert_eq!(node["spec"]["podCIDRs"], json!(["10.244.1.0/24", "fd00:244:1::/64"]));
    assert_eq!(files["pod-web-1.yaml"]["status"]["podIPs"][1]["ip"], "fd00:244:1::5");
    let service = &files["service-default-web.yaml"]["spec"];
    assert_eq!(
        (&service["sessionAffinity"], &service["clusterIP"]),
        (&json!("ClientIP"), &json!("10.96.0.10"))
    );
}

#[test]
fn a_slice_holds_the_selected_pods_of_its_namespace_and_family() {
    let files = objects(&Topology::parse(LAB).unwrap());
    let slice = &files["endpointslice-default-web-ipv6.yaml"];
    assert_eq!(slice["endpoints"].as_array().unwrap().len(), 1);
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["fd00:244:1::5"]));
    assert_eq!(
        slice["endpoints"][0]["targetRef"]["uid"],
        files["pod-web-1.yaml"]["metadata"]["uid"]
    );
    assert_eq!(slice["ports"], json!([{"name": "", "protocol": "TCP", "port": 8080}]));
    assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], "web");
}
