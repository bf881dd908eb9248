use super::client::{Stream, get};
use super::{pod, server};
use serde_json::json;

#[test]
fn a_restored_server_gives_versions_out_again_and_does_not_know_later_ones() {
    let server = server();
    server.apply(pod("a", json!({}))).unwrap();
    let then = server.version();
    server.apply(pod("b", json!({}))).unwrap();
    let later = server.version();
    server.restore(then);
    let to = server.address();
    assert_eq!(
        (get(to, "/api/v1/pods").names(), server.version()),
        (vec!["a".to_owned()], then)
    );
    assert_eq!(
        get(
            to,
            &format!("/api/v1/pods?resourceVersion={later}&resourceVersionMatch=Exact")
        )
        .code,
        504
    );
    let mut ahead = Stream::watch(to, &format!("/api/v1/pods?watch=1&resourceVersion={later}"));
    server.apply(pod("c", json!({}))).unwrap();
    server.apply(pod("d", json!({}))).unwrap();
    assert_eq!(
        ahead.short(),
        "ADDED d",
        "whoever is ahead misses what bears a version it knows"
    );
}
