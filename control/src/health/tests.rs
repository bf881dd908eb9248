use super::*;
use crate::api::Request;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime};

const PATIENCE: Duration = Duration::from_secs(10);

struct Fixture {
    health: Health,
    vitals: Arc<Vitals>,
    settings: HealthSettings,
}

/// Answers at free ports; a scrape is answered by `figures`, when there are any.
fn start(figures: Option<&'static str>) -> Fixture {
    let free = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap()
    };
    let settings = HealthSettings {
        address: Some(free()),
        healthz: Some(free()),
    };
    let vitals = Arc::new(Vitals::new(Instant::now()));
    let (calls, mut asked) = mpsc::channel::<Call>(4);
    std::thread::spawn(move || {
        while let Some(call) = asked.blocking_recv() {
            assert_eq!(call.request, Request::Metrics);
            if let Some(figures) = figures {
                call.answer.send(Ok(serde_json::to_string(figures).unwrap())).unwrap();
            }
        }
    });
    let health = Health::start(settings, vitals.clone(), calls).unwrap();
    Fixture {
        health,
        vitals,
        settings,
    }
}

/// Status and what follows the header; waits until somebody listens.
fn ask(address: Option<SocketAddr>, request: &str) -> (u16, String) {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = loop {
        match TcpStream::connect(address.unwrap()) {
            Ok(stream) => break stream,
            Err(err) => assert!(Instant::now() < deadline, "{err}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[test]
fn probes_answer_what_is_and_why_not() {
    let f = start(Some("sluice_ready 1\n"));
    let (node, balancers) = (f.settings.address, f.settings.healthz);
    assert_eq!(ask(node, "GET /livez"), (200, "ok\n".into()));
    f.vitals.beat(Instant::now(), vec!["the uplink eth0".into()]);
    assert_eq!(ask(node, "GET /readyz"), (503, "waiting for the uplink eth0\n".into()));
    assert_eq!(ask(balancers, "GET /healthz").0, 503);
    f.vitals.beat(Instant::now(), Vec::new());
    f.vitals.done(SystemTime::UNIX_EPOCH, false);
    assert_eq!(ask(node, "GET /readyz"), (200, "ok\n".into()));
    let (status, body) = ask(balancers, "GET /healthz");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["nodeEligible"]), (200, &true.into()));
    assert_eq!(body["lastUpdated"], "1970-01-01T00:00:00Z");
    assert!(body["currentTime"].as_str().unwrap() > "2026", "{body}");
    f.vitals.done(SystemTime::UNIX_EPOCH, true);
    let (status, body) = ask(balancers, "GET /healthz");
    assert!(
        status == 503 && body.contains("\"nodeEligible\":false"),
        "{status} {body}"
    );
    assert_eq!(ask(balancers, "GET /livez"), (200, "ok\n".into()));
    assert_eq!(ask(node, "GET /metrics"), (200, "sluice_ready 1\n".into()));
    assert_eq!(ask(balancers, "GET /metrics").0, 404, "figures are not for everybody");
    assert_eq!(
        ask(node, "GET /"),
        (404, "here are /livez, /readyz and /metrics\n".into())
    );
    assert_eq!(ask(node, "POST /livez").0, 405);
    assert_eq!(ask(node, "nonsense").0, 400);
    assert!(f.health.troubles().is_empty());
}

/// Whoever connects and says nothing, however often, does not keep others from their answer.
#[test]
fn a_crowd_that_says_nothing_does_not_keep_a_probe_waiting() {
    let f = start(None);
    let node = f.settings.address;
    ask(node, "GET /livez");
    let crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(node.unwrap()).unwrap()).collect();
    let asked = Instant::now();
    assert_eq!(ask(node, "GET /livez"), (200, "ok\n".into()));
    let mut silent = crowd.iter().collect::<Vec<_>>();
    silent.retain(|stream| stream.set_read_timeout(Some(PATIENCE)).is_ok());
    let ended = |mut stream: &TcpStream| stream.read(&mut [0; 64]).is_ok_and(|bytes| bytes == 0);
    assert!(ended(silent[0]), "who came first was let go");
    assert!(asked.elapsed() < serve::HEADERS, "but not before its time was up");
}

#[test]
fn an_address_that_is_taken_is_told_and_tried_again() {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = holder.local_addr().unwrap();
    let settings = HealthSettings {
        address: None,
        healthz: Some(address),
    };
    let (calls, _asked) = mpsc::channel(1);
    let health = Health::start(settings, Arc::new(Vitals::new(Instant::now())), calls).unwrap();
    let wait = |what: &dyn Fn() -> bool| {
        let deadline = Instant::now() + PATIENCE;
        while !what() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait(&|| !health.troubles().is_empty());
    let (_, text) = health.troubles().remove(0);
    let start =
        format!("health for load balancers is not served at {address}: another program has the address, kube-proxy");
    assert!(text.starts_with(&start) && text.contains("health.healthz"), "{text}");
    drop(holder);
    wait(&|| health.troubles().is_empty());
    assert_eq!(ask(Some(address), "GET /livez").0, 200);
}
