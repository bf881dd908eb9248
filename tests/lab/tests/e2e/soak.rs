//! Everything at once: every kind of traffic while pods, services and policies come and go and agents stop, start and die.
//! A few seconds of it are a test like others; `make soak MINUTES=10` makes it long, and shows how it goes.

use crate::clients::{bulk, datagram, get, ping_with};
use crate::cluster::*;
use crate::footprint::{self, Footprint};
use serde_json::{Value, json};
use sluice_lab::{Lab, Signal, manifests};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Seconds of it, unless this says so.
const VARIABLE: &str = "SLUICE_SOAK_SECONDS";
const SECONDS: u64 = 20;
/// After an agent is ready again, everybody is reached within this time.
const SETTLES: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(5);
/// Agents are stopped or killed once in so many changes.
const CHANGES_PER_OUTAGE: usize = 12;

/// Traffic of one kind.
struct Kind {
    name: &'static str,
    once: fn(&Lab, u64) -> Result<(), String>,
    good: AtomicU64,
    excused: AtomicU64,
    last_good: Mutex<Instant>,
}

fn kind(name: &'static str, once: fn(&Lab, u64) -> Result<(), String>) -> Kind {
    Kind {
        name,
        once,
        good: AtomicU64::new(0),
        excused: AtomicU64::new(0),
        last_good: Mutex::new(Instant::now()),
    }
}

fn kinds() -> [Kind; 6] {
    [
        kind("bulk", |lab, n| {
            bulk(&lab.pod("user").unwrap(), (address(lab, "web-2", n % 2 == 1), 80), "")
        }),
        kind("http", |lab, n| http(lab, "user", (of(WEB, n % 2 == 1), 80))),
        kind("node port", |lab, n| {
            http(lab, "outside", (of(NODE_A, n % 2 == 1), 30080))
        }),
        kind("egress", |lab, n| http(lab, "user", (of(OUTSIDE, n % 2 == 1), 80))),
        kind("udp", |lab, n| {
            let user = lab.pod("user").unwrap();
            // A datagram may be lost where an endpoint has just gone; two in turn may not.
            let ask = || datagram(&user, (of(ECHO, n % 2 == 1), 7), "soak", ANSWER);
            ask().or_else(|_| ask()).map(drop).map_err(|err| err.to_string())
        }),
        kind("ping", |lab, n| {
            let output = ping_with(
                &lab.pod("user").unwrap(),
                address(lab, "web-2", n % 2 == 1),
                &["-W", "5"],
            );
            output.ok().then_some(()).ok_or_else(|| output.to_string())
        }),
    ]
}

fn http(lab: &Lab, from: &str, to: (std::net::IpAddr, u16)) -> Result<(), String> {
    let place = lab.place(from).unwrap();
    let answer = place.within(|| Ok(get(to.into(), "/", ANSWER))).unwrap();
    answer.map(drop).map_err(|err| format!("{from} to {to:?}: {err}"))
}

/// What all threads know.
struct Soak<'l> {
    lab: &'l Lab,
    kinds: [Kind; 6],
    done: AtomicBool,
    /// Odd while an agent is away or settling.
    outages: AtomicU64,
    changes: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl Soak<'_> {
    /// Over and over until done. What fails while an agent is away is excused, everything else is a fault.
    fn traffic(&self, kind: &Kind) {
        let mut n = 0;
        while !self.done.load(Relaxed) {
            n += 1;
            let before = self.outages.load(Relaxed);
            match (kind.once)(self.lab, n) {
                Ok(()) => {
                    kind.good.fetch_add(1, Relaxed);
                    *kind.last_good.lock().unwrap() = Instant::now();
                }
                Err(_) if before % 2 == 1 || self.outages.load(Relaxed) != before => {
                    kind.excused.fetch_add(1, Relaxed);
                }
                Err(text) => {
                    self.faults.lock().unwrap().push(format!("{}: {text}", kind.name));
                    return;
                }
            }
        }
    }

    fn churn(&self) {
        let lab = self.lab;
        let brief = lab.pod("brief").unwrap();
        let slice = "endpointslice-default-web-ipv4.yaml";
        let mut all = Value::Null;
        lab.edit(slice, |object| all = object["endpoints"].clone()).unwrap();
        let mut n = 0;
        while !self.done.load(Relaxed) {
            n += 1;
            match n % 5 {
                0 => brief.detach().unwrap(),
                1 => brief.attach().unwrap_or_else(|err| assert!(n == 1, "{err:#}")),
                2 => lab
                    .edit(slice, |object| {
                        let keep = all.as_array().unwrap().iter();
                        let keep: Vec<Value> = keep.skip(n / 5 % 2).cloned().collect();
                        object["endpoints"] = keep.into();
                    })
                    .unwrap(),
                3 => lab.apply("passing.yaml", &manifests::to_yaml(&policy(n))).unwrap(),
                _ => lab.remove("passing.yaml").unwrap(),
            }
            self.changes.fetch_add(1, Relaxed);
            if n.is_multiple_of(CHANGES_PER_OUTAGE) {
                self.outage(n / CHANGES_PER_OUTAGE);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        lab.edit(slice, |object| object["endpoints"] = all.clone()).unwrap();
    }

    fn outage(&self, n: usize) {
        let name = if n.is_multiple_of(2) { "node-a" } else { "node-b" };
        let node = self.lab.node(name).unwrap();
        self.outages.fetch_add(1, Relaxed);
        if n.is_multiple_of(3) {
            node.stop_agent().unwrap();
        } else {
            node.kill_agent(Signal::SIGKILL).unwrap();
        }
        node.start_agent().unwrap();
        std::thread::sleep(SETTLES);
        self.outages.fetch_add(1, Relaxed);
    }

    fn line(&self, since: Instant) -> String {
        let kinds = self.kinds.iter().map(|kind| {
            let (good, excused) = (kind.good.load(Relaxed), kind.excused.load(Relaxed));
            format!(
                "{} {good}{}",
                kind.name,
                if excused > 0 {
                    format!(" (-{excused})")
                } else {
                    String::new()
                }
            )
        });
        let kinds: Vec<String> = kinds.collect();
        let outages = self.outages.load(Relaxed);
        let changes = self.changes.load(Relaxed);
        format!(
            "soak {:4} s   {}   {changes} changes, {} outages",
            since.elapsed().as_secs(),
            kinds.join("   "),
            outages.div_ceil(2)
        )
    }
}

/// Lets everything in, in words that differ.
fn policy(n: usize) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "passing", "namespace": "default"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}},
            "ingress": [{}, {"ports": [{"port": 1000 + n % 1000}]}]}})
}

#[test]
fn everything_at_once_and_nothing_is_lost_in_the_end() {
    let seconds = std::env::var(VARIABLE).map_or(SECONDS, |text| text.parse().expect("a number of seconds"));
    alone_in_lab(&with_brief(), |lab| {
        let fresh = footprint::all(lab);
        let soak = Soak {
            lab,
            kinds: kinds(),
            done: AtomicBool::new(false),
            outages: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            faults: Mutex::default(),
        };
        let started = Instant::now();
        std::thread::scope(|scope| {
            // Also when something here panics, so that the others end.
            let _end = EndOf(&soak.done);
            for kind in &soak.kinds {
                scope.spawn(|| soak.traffic(kind));
            }
            let churn = scope.spawn(|| soak.churn());
            while started.elapsed() < Duration::from_secs(seconds) && soak.faults.lock().unwrap().is_empty() {
                std::thread::sleep(Duration::from_secs(5).min(Duration::from_secs(seconds)));
                eprintln!("{}", soak.line(started));
                assert!(!churn.is_finished(), "the changes have ended before their time");
            }
        });
        let faults = soak.faults.into_inner().unwrap();
        assert!(faults.is_empty(), "{faults:#?}");
        for kind in &soak.kinds {
            assert!(kind.good.load(Relaxed) > 0, "no {} went well", kind.name);
            for n in 0..4 {
                (kind.once)(lab, n).unwrap_or_else(|text| panic!("{} in the calm after: {text}", kind.name));
            }
        }
        let now = footprint::all(lab);
        let kib = |all: &std::collections::BTreeMap<String, Footprint>| -> Vec<u64> {
            all.values().map(|footprint| footprint.memory_kib).collect()
        };
        eprintln!(
            "soak done: memory of the agents {:?} KiB, of fresh ones {:?} KiB",
            kib(&now),
            kib(&fresh)
        );
        footprint::check(lab, &fresh);
    });
}

struct EndOf<'a>(&'a AtomicBool);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
