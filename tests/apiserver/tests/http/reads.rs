use super::client::{get, send};
use super::{pod, server};
use serde_json::json;
use sluice_apiserver::{Denial, Server, Settings};

fn ten() -> Server {
    let server = server();
    for n in 0..10 {
        server
            .apply(pod(
                &format!("p{n}"),
                json!({"n": n.to_string(), "even": (n % 2 == 0).to_string()}),
            ))
            .unwrap();
    }
    server
}

#[test]
fn a_list_has_the_kind_of_its_items_and_the_version_of_the_whole() {
    let server = ten();
    let list = get(server.address(), "/api/v1/pods").json();
    assert_eq!(
        (list["kind"].as_str(), list["apiVersion"].as_str()),
        (Some("PodList"), Some("v1"))
    );
    assert_eq!(list["metadata"]["resourceVersion"], server.version().to_string());
    let item = &list["items"][0];
    assert!(
        item["kind"].is_null() && item["apiVersion"].is_null(),
        "typed items do not repeat the kind"
    );
    assert!(item["metadata"]["uid"].is_string() && item["metadata"]["creationTimestamp"].is_string());
    let one = get(server.address(), "/api/v1/namespaces/default/pods/p3").json();
    assert_eq!(
        (one["kind"].as_str(), one["metadata"]["name"].as_str()),
        (Some("Pod"), Some("p3"))
    );
    assert!(
        get(server.address(), "/api/v1/namespaces/kube-system/pods")
            .names()
            .is_empty()
    );
}

#[test]
fn selectors_narrow_a_list_and_unknown_fields_are_refused() {
    let server = ten();
    let names = |query: &str| get(server.address(), &format!("/api/v1/pods?{query}")).names();
    assert_eq!(names("labelSelector=n+in+(1,2)"), ["p1", "p2"]);
    assert_eq!(names("labelSelector=even%3Dtrue,n!%3D4").len(), 4);
    assert_eq!(names("fieldSelector=metadata.name%3Dp7"), ["p7"]);
    assert_eq!(
        names("fieldSelector=spec.nodeName%3Dn1,status.phase!%3DPending").len(),
        0
    );
    let refused = get(server.address(), "/api/v1/pods?fieldSelector=spec.colour%3Dred");
    assert_eq!(refused.code, 400);
    assert_eq!(refused.json()["message"], "field label not supported: spec.colour");
    assert_eq!(refused.json()["reason"], "BadRequest");
}

#[test]
fn pages_are_of_one_version_whatever_happens_between_them() {
    let server = ten();
    let first = get(server.address(), "/api/v1/pods?limit=4");
    assert_eq!(first.names(), ["p0", "p1", "p2", "p3"]);
    assert_eq!(first.json()["metadata"]["remainingItemCount"], 6);
    server.delete("pods", Some("default"), "p5");
    server.apply(pod("p55", json!({}))).unwrap();
    let token = first.json()["metadata"]["continue"].as_str().unwrap().to_owned();
    let second = get(server.address(), &format!("/api/v1/pods?limit=4&continue={token}"));
    assert_eq!(second.names(), ["p4", "p5", "p6", "p7"]);
    assert_eq!(
        second.json()["metadata"]["resourceVersion"],
        first.json()["metadata"]["resourceVersion"]
    );
    let token = second.json()["metadata"]["continue"].as_str().unwrap().to_owned();
    let last = get(server.address(), &format!("/api/v1/pods?limit=4&continue={token}"));
    assert_eq!(last.names(), ["p8", "p9"]);
    assert!(last.json()["metadata"]["continue"].is_null());
}

#[test]
fn an_expired_page_is_gone_and_says_how_to_go_on_inconsistently() {
    let server = ten();
    let first = get(server.address(), "/api/v1/pods?limit=4").json();
    server.apply(pod("p99", json!({}))).unwrap();
    server.compact();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let gone = get(server.address(), &format!("/api/v1/pods?limit=4&continue={token}"));
    assert_eq!((gone.code, gone.json()["reason"].as_str()), (410, Some("Expired")));
    let token = gone.json()["metadata"]["continue"].as_str().unwrap().to_owned();
    let rest = get(server.address(), &format!("/api/v1/pods?continue={token}"));
    assert_eq!(rest.names(), ["p4", "p5", "p6", "p7", "p8", "p9", "p99"]);
    assert_eq!(get(server.address(), "/api/v1/pods?limit=4&continue=rubbish").code, 400);
}

#[test]
fn versions_bind_a_list_exactly_or_from_below() {
    let server = ten();
    let then = server.version();
    server.delete("pods", Some("default"), "p0");
    let names = |query: &str| get(server.address(), &format!("/api/v1/pods?{query}"));
    assert_eq!(
        names(&format!("resourceVersion={then}&resourceVersionMatch=Exact"))
            .names()
            .len(),
        10
    );
    assert_eq!(
        names(&format!("resourceVersion={then}&resourceVersionMatch=NotOlderThan"))
            .names()
            .len(),
        9
    );
    assert_eq!(
        names(&format!("resourceVersion={then}&limit=20")).names().len(),
        10,
        "with a limit it is exact"
    );
    assert_eq!(
        names("resourceVersion=0&limit=2").names().len(),
        9,
        "the cache knows no pages"
    );
    for query in [
        "resourceVersionMatch=Exact",
        "resourceVersion=0&resourceVersionMatch=Exact",
        "sendInitialEvents=true",
    ] {
        assert_eq!(names(query).code, 422, "{query}");
    }
    assert_eq!(names("resourceVersion=x").code, 400);
    server.compact();
    assert_eq!(
        names(&format!("resourceVersion={then}&resourceVersionMatch=Exact")).code,
        410
    );
}

#[test]
fn a_version_that_is_not_there_yet_is_waited_for_and_then_refused_with_its_cause() {
    let fresh_within = std::time::Duration::from_millis(50);
    let server = Server::start(Settings {
        plain: true,
        fresh_within,
        ..Settings::default()
    })
    .unwrap();
    let asked = server.version() + 5;
    let refused = get(
        server.address(),
        &format!("/api/v1/pods?resourceVersion={asked}&resourceVersionMatch=NotOlderThan"),
    );
    let status = refused.json();
    assert_eq!((refused.code, status["reason"].as_str()), (504, Some("Timeout")));
    assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(status["details"]["retryAfterSeconds"], 1);
}

#[test]
fn a_server_that_is_behind_answers_from_its_cache_and_the_newest_from_the_store() {
    let server = ten();
    let then = server.version();
    server.lag(Some(then));
    server.apply(pod("late", json!({}))).unwrap();
    let cached = get(server.address(), "/api/v1/pods?resourceVersion=0");
    assert_eq!(
        (
            cached.names().len(),
            cached.json()["metadata"]["resourceVersion"].clone()
        ),
        (10, then.to_string().into())
    );
    assert_eq!(get(server.address(), "/api/v1/pods").names().len(), 11);
    assert_eq!(
        get(
            server.address(),
            "/api/v1/namespaces/default/pods/late?resourceVersion=0"
        )
        .code,
        404
    );
    server.lag(None);
    assert_eq!(
        get(server.address(), "/api/v1/pods?resourceVersion=0").names().len(),
        11
    );
}

#[test]
fn metadata_alone_is_had_by_the_accept_header() {
    let server = ten();
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
    let list = send(server.address(), "GET", "/api/v1/pods", &[("Accept", accept)], "").json();
    assert_eq!(
        (list["kind"].as_str(), list["apiVersion"].as_str()),
        (Some("PartialObjectMetadataList"), Some("meta.k8s.io/v1"))
    );
    assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
    assert!(list["items"][0]["spec"].is_null() && list["items"][0]["metadata"]["labels"].is_object());
    let table = "application/json;as=Table;g=meta.k8s.io;v=v1, application/json";
    assert_eq!(
        send(server.address(), "GET", "/api/v1/pods", &[("Accept", table)], "").json()["kind"],
        "PodList"
    );
    let protobuf = send(
        server.address(),
        "GET",
        "/api/v1/pods",
        &[("Accept", "application/vnd.kubernetes.protobuf")],
        "",
    );
    assert_eq!(protobuf.code, 406);
}

#[test]
fn discovery_tells_what_is_served() {
    let server = server();
    let to = server.address();
    assert_eq!(get(to, "/readyz").text, "ok");
    assert_eq!(get(to, "/version").json()["minor"], "34");
    assert_eq!(get(to, "/api").json()["versions"], json!(["v1"]));
    let groups = get(to, "/apis").json()["groups"].to_string();
    assert!(
        groups.contains("discovery.k8s.io") && groups.contains("networking.k8s.io/v1"),
        "{groups}"
    );
    let resources = get(to, "/api/v1").json()["resources"].to_string();
    assert!(resources.contains("nodes/status"), "{resources}");
    server.serve("servicecidrs", false);
    assert!(!get(to, "/apis/networking.k8s.io/v1").text.contains("servicecidrs"));
    let absent = get(to, "/apis/networking.k8s.io/v1/servicecidrs");
    assert_eq!((absent.code, absent.text.trim()), (404, "404 page not found"));
}

#[test]
fn tokens_and_denials_are_answered_in_the_real_words() {
    let server = server();
    server.access().allow_token("t1", "system:node:n1");
    let with = |token: &str, path: &str| send(server.address(), "GET", path, &[("Authorization", token)], "");
    assert_eq!(get(server.address(), "/api/v1/pods").code, 401);
    assert_eq!(with("Bearer other", "/api/v1/pods").json()["reason"], "Unauthorized");
    assert_eq!(with("Bearer t1", "/api/v1/pods").code, 200);
    server.deny(Denial::of("list", "pods"));
    let refused = with("Bearer t1", "/api/v1/pods");
    assert_eq!(refused.code, 403);
    let message = "pods is forbidden: User \"system:node:n1\" cannot list resource \"pods\" in API group \"\" at the cluster scope";
    assert_eq!(refused.json()["message"], message);
    server.deny(Denial::of("get", "networkpolicies"));
    let refused = with(
        "Bearer t1",
        "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/x",
    )
    .json();
    let message = "networkpolicies.networking.k8s.io \"x\" is forbidden: User \"system:node:n1\" cannot get resource \
                   \"networkpolicies\" in API group \"networking.k8s.io\" in the namespace \"default\"";
    assert_eq!(refused["message"], message);
    server.access().grant(&Denial::of("list", "pods"));
    assert_eq!(with("Bearer t1", "/api/v1/pods").code, 200);
    server.access().expire_token("t1");
    assert_eq!(with("Bearer t1", "/api/v1/pods").code, 401);
}
