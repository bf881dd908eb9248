use super::client::{Stream, get};
use super::{pod, server};
use serde_json::json;
use sluice_apiserver::{Fault, Rule};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn an_answer_is_spoilt_as_often_as_asked_and_says_when_to_come_back() {
    let server = server();
    let to = server.address();
    let fault = Fault::Answer {
        code: 429,
        retry_after: Some(7),
    };
    let id = server.fault(Rule::of(fault).on("pods").for_verb("list").times(2));
    for _ in 0..2 {
        let busy = get(to, "/api/v1/pods");
        assert_eq!(
            (busy.code, busy.json()["details"]["retryAfterSeconds"].clone()),
            (429, json!(7))
        );
        assert!(
            busy.head.to_ascii_lowercase().contains("retry-after: 7"),
            "{}",
            busy.head
        );
        assert_eq!(get(to, "/api/v1/nodes").code, 200, "others are not concerned");
    }
    assert_eq!((get(to, "/api/v1/pods").code, server.faults().struck(id)), (200, 2));
    server.fault(Rule::of(Fault::Answer {
        code: 500,
        retry_after: None,
    }));
    assert_eq!(get(to, "/api/v1/nodes").json()["reason"], "InternalError");
    server.faults().clear();
    assert_eq!(get(to, "/api/v1/nodes").code, 200);
}

#[test]
fn a_stream_is_cut_within_an_event_or_carries_garbage_or_says_an_event_twice() {
    let server = server();
    let to = server.address();
    server.fault(Rule::of(Fault::Garbage).on("pods").times(1));
    let mut watch = Stream::watch(to, "/api/v1/pods?watch=1");
    server.apply(pod("a", json!({}))).unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&watch.line().unwrap()).is_err());
    assert_eq!(watch.short(), "ADDED a");
    server.fault(Rule::of(Fault::Duplicate).on("pods").times(1));
    server.apply(pod("b", json!({}))).unwrap();
    assert_eq!((watch.short(), watch.short()), ("ADDED b".into(), "ADDED b".into()));
    server.fault(Rule::of(Fault::Cut).on("pods").times(1));
    server.apply(pod("c", json!({}))).unwrap();
    let half = watch.line().unwrap();
    assert!(half.starts_with(b"{") && serde_json::from_slice::<serde_json::Value>(&half).is_err() && watch.cut);
    server.fault(Rule::of(Fault::Expired).on("pods").times(1));
    let mut watch = Stream::watch(to, "/api/v1/pods?watch=1");
    assert_eq!((watch.short(), watch.short()), ("ERROR 410".into(), "end".into()));
}

#[test]
fn events_of_two_objects_change_places_and_those_of_one_do_not() {
    let server = server();
    let version = server.version();
    server.fault(Rule::of(Fault::Reorder).on("pods").times(1));
    let mut watch = Stream::watch(
        server.address(),
        &format!("/api/v1/pods?watch=1&resourceVersion={version}"),
    );
    server.apply(pod("a", json!({}))).unwrap();
    server.apply(pod("b", json!({}))).unwrap();
    assert_eq!((watch.short(), watch.short()), ("ADDED b".into(), "ADDED a".into()));
    let id = server.fault(Rule::of(Fault::Reorder).on("pods").times(1));
    server.apply(pod("a", json!({"n": "1"}))).unwrap();
    server.apply(pod("a", json!({"n": "2"}))).unwrap();
    let labels = [watch.event().unwrap(), watch.event().unwrap()]
        .map(|event| event["object"]["metadata"]["labels"]["n"].clone());
    assert_eq!((labels, server.faults().struck(id)), ([json!("1"), json!("2")], 1));
    server.fault(Rule::of(Fault::Reorder).on("pods").times(1));
    server.apply(pod("c", json!({}))).unwrap();
    server.faults().clear();
    assert_eq!(watch.short(), "ADDED c", "what waits goes with its fault");
}

#[test]
fn what_stalls_goes_on_when_the_fault_is_cleared() {
    let server = server();
    let id = server.fault(Rule::of(Fault::Stall).on("pods"));
    let to = server.address();
    let mut watch = Stream::watch(to, "/api/v1/pods?watch=1");
    server.apply(pod("a", json!({}))).unwrap();
    let list = std::thread::spawn(move || get(to, "/api/v1/pods").names());
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while server.faults().struck(id) < 2 {
        assert!(std::time::Instant::now() < deadline, "both have to stall");
        std::thread::yield_now();
    }
    assert!(!list.is_finished());
    server.faults().clear_one(id);
    assert_eq!(
        (watch.short(), list.join().unwrap()),
        ("ADDED a".into(), vec!["a".to_owned()])
    );
}

fn ask(to: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream
}

fn silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    matches!(stream.read(&mut [0; 64]), Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

#[test]
fn a_half_open_connection_is_silent_for_ever_and_later_ones_are_served() {
    let server = server();
    let to = server.address();
    let mut old = ask(to);
    assert!(old.read(&mut [0; 4096]).unwrap() > 0);
    server.lines().half_open(true);
    old.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(silent(&mut old) && silent(&mut ask(to)));
    server.lines().half_open(false);
    assert_eq!(get(to, "/readyz").text, "ok");
    assert!(silent(&mut old), "what was dead stays dead");
}

#[test]
fn connections_are_closed_refused_and_taken_again_on_the_same_port() {
    let server = server();
    let to = server.address();
    let mut open = ask(to);
    assert!(open.read(&mut [0; 4096]).unwrap() > 0);
    server.lines().refuse(true);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        assert!(std::time::Instant::now() < deadline, "the port has to close");
        match TcpStream::connect(to) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
            _ => std::thread::yield_now(),
        }
    }
    server.lines().close_all();
    assert!(matches!(open.read(&mut [0; 64]), Ok(0) | Err(_)));
    server.lines().refuse(false);
    while TcpStream::connect(to).is_err() {
        assert!(std::time::Instant::now() < deadline, "the port has to open");
        std::thread::yield_now();
    }
    assert_eq!(get(to, "/readyz").text, "ok");
}

#[test]
fn requests_connections_and_bytes_are_counted() {
    let server = server();
    let to = server.address();
    get(to, "/api/v1/pods");
    get(to, "/api/v1/pods");
    get(to, "/api/v1/namespaces/default");
    let _watch = Stream::watch(to, "/api/v1/nodes?watch=1");
    let counters = server.counters();
    assert_eq!(
        (
            counters.requests("list", "pods"),
            counters.requests("list", ""),
            counters.requests("watch", "nodes")
        ),
        (2, 2, 1)
    );
    assert_eq!(counters.json()["connections"], 4);
    assert!(counters.json()["bytes_out"].as_u64().unwrap() > 500);
    counters.reset();
    assert_eq!(counters.requests("list", "pods"), 0);
}
