//! What the demo tries: each check says what it does, what must come out, and looks. It never repairs anything.

use super::capture;
use crate::{Lab, Place, parse};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// The policy that two of the checks are about.
pub(super) const POLICY_FILE: &str = "networkpolicy-default-db-from-app.yaml";

/// One row to be.
pub(super) struct Check {
    pub(super) what: &'static str,
    pub(super) detail: &'static str,
    pub(super) expected: &'static str,
    pub(super) see: fn(&Lab) -> Result<Seen>,
}

/// What came out.
pub(super) struct Seen {
    pub(super) text: String,
    pub(super) ok: bool,
    pub(super) below: Vec<String>,
}

impl Seen {
    fn right(text: String) -> Seen {
        Seen {
            text,
            ok: true,
            below: Vec::new(),
        }
    }

    pub(super) fn wrong(text: String) -> Seen {
        Seen {
            text,
            ok: false,
            below: Vec::new(),
        }
    }
}

/// All checks, in the order of the table.
pub(super) fn all() -> Vec<Check> {
    let check = |what, detail, expected, see| Check {
        what,
        detail,
        expected,
        see,
    };
    vec![
        check("ping  web-1 -> web-2", "one node, IPv4", "reply", |lab| {
            ping(lab, "web-2", false)
        }),
        check("ping  web-1 -> web-2", "one node, IPv6", "reply", |lab| {
            ping(lab, "web-2", true)
        }),
        check("ping  web-1 -> web-3", "across,   IPv4", "reply", |lab| {
            ping(lab, "web-3", false)
        }),
        check("ping  web-1 -> web-3", "across,   IPv6", "reply", |lab| {
            ping(lab, "web-3", true)
        }),
        check("curl  10.96.0.10:80", "service web, 300 x", "3 backends", |lab| {
            services(lab, "10.96.0.10", 300)
        }),
        check("curl  [fd00:96::a]:80", "service web, 300 x", "3 backends", |lab| {
            services(lab, r"\[fd00:96::a\]", 300)
        }),
        check("udp   10.96.0.20:7", "service echo, 300 x", "3 backends", udp_service),
        check(
            "curl  192.0.2.11:30080",
            "NodePort from outside",
            "both nodes serve",
            node_port,
        ),
        check(
            "curl  web-1 -> outside",
            "leaves the cluster",
            "from 192.0.2.11",
            masqueraded,
        ),
        check("curl  app-1 -> db:6379", "policy db-from-app", "allowed", |lab| {
            policy(lab, "app-1", true)
        }),
        check("curl  guest -> db:6379", "policy db-from-app", "blocked", |lab| {
            policy(lab, "guest", false)
        }),
        check("...   policy edited", "guest -> db:6379", "within 1 s", policy_edited),
        check("iperf3  web-1 -> web-2", "one node", "> 0", |lab| {
            iperf3(lab, "10.244.1.6")
        }),
        check("iperf3  web-1 -> meter", "across, ClusterIP", "> 0", |lab| {
            iperf3(lab, "10.96.0.30")
        }),
        check("one captured packet", "on the wire", "vni 1, udp 8472", captured),
    ]
}

fn ping(lab: &Lab, to: &str, v6: bool) -> Result<Seen> {
    let target = lab.pod(to)?.address(v6)?.to_string();
    let output = lab
        .pod("web-1")?
        .run(&["ping", "-n", "-c", "5", "-i", "0.05", "-W", "1", &target])?;
    Ok(match parse::ping(&output.stdout) {
        Some(time) if output.ok() => Seen::right(format!("{:.2} ms", time.as_secs_f64() * 1e3)),
        _ => Seen::wrong("no reply".into()),
    })
}

/// `count` requests with a connection each; who answered.
fn answers(from: &Place<'_>, host: &str, count: u32) -> Result<BTreeMap<String, u32>> {
    let url = format!("http://{host}/?[1-{count}]");
    let output = from.run(&[
        "curl",
        "-sS",
        "--fail-early",
        "--max-time",
        "2",
        "-H",
        "Connection: close",
        &url,
    ])?;
    output.text()?;
    Ok(spread(output.stdout.lines().filter(|line| !line.is_empty())))
}

/// How often each name occurs.
pub(super) fn spread<'n>(names: impl Iterator<Item = &'n str>) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.to_string()).or_insert(0) += 1;
    }
    counts
}

fn three_backends(counts: &BTreeMap<String, u32>, wanted: u32) -> Seen {
    let text = counts.values().map(ToString::to_string).collect::<Vec<_>>().join(" / ");
    let ok = counts.keys().eq(["web-1", "web-2", "web-3"]) && counts.values().sum::<u32>() == wanted;
    Seen {
        text,
        ok,
        below: Vec::new(),
    }
}

fn services(lab: &Lab, host: &str, count: u32) -> Result<Seen> {
    Ok(three_backends(&answers(&lab.place("guest")?, host, count)?, count))
}

fn udp_service(lab: &Lab) -> Result<Seen> {
    let target: SocketAddr = "10.96.0.20:7".parse()?;
    let names = lab.pod("guest")?.within(|| {
        let mut names = Vec::new();
        for _ in 0..300 {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            socket.connect(target)?;
            socket.send(b"hello")?;
            let mut buffer = [0; 128];
            let length = socket
                .recv(&mut buffer)
                .with_context(|| format!("no answer after {} good ones", names.len()))?;
            let text = String::from_utf8_lossy(&buffer[..length]);
            let Some(name) = text.strip_suffix(" hello") else {
                bail!("a strange answer: {text}")
            };
            names.push(name.to_string());
        }
        Ok(names)
    })?;
    Ok(three_backends(&spread(names.iter().map(String::as_str)), 300))
}

fn node_port(lab: &Lab) -> Result<Seen> {
    let counts = answers(&lab.place("outside")?, "192.0.2.11:30080", 60)?;
    let node = |pod: &str| lab.topology().pod(pod).map_or("?", |p| p.node.as_str());
    let mut by_node = BTreeMap::new();
    for (pod, count) in &counts {
        *by_node.entry(node(pod)).or_insert(0) += count;
    }
    let text = by_node
        .iter()
        .map(|(node, count)| format!("{node} {count}"))
        .collect::<Vec<_>>()
        .join(", ");
    let ok = by_node.keys().copied().eq(["node-a", "node-b"]) && by_node.values().sum::<u32>() == 60;
    Ok(Seen {
        text,
        ok,
        below: Vec::new(),
    })
}

fn masqueraded(lab: &Lab) -> Result<Seen> {
    let output = lab
        .pod("web-1")?
        .curl("http://192.0.2.100/from", Duration::from_secs(2))?;
    let from = output.text()?;
    Ok(Seen {
        text: format!("from {from}"),
        ok: from == "192.0.2.11",
        below: Vec::new(),
    })
}

/// curl's exit code when nothing came back in time.
const TIMED_OUT: i32 = 28;

fn policy(lab: &Lab, from: &str, allowed: bool) -> Result<Seen> {
    let output = lab.pod(from)?.curl("http://10.244.2.9:6379/", Duration::from_secs(1))?;
    Ok(match (output.ok(), output.code) {
        (true, _) => Seen {
            text: "200".into(),
            ok: allowed,
            below: Vec::new(),
        },
        (false, Some(TIMED_OUT)) => Seen {
            text: "no answer in 1 s".into(),
            ok: !allowed,
            below: Vec::new(),
        },
        _ => Seen::wrong(output.to_string()),
    })
}

fn policy_edited(lab: &Lab) -> Result<Seen> {
    let guest = lab.pod("guest")?;
    let started = Instant::now();
    lab.edit(POLICY_FILE, |policy| {
        policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]["role"] = "guest".into();
    })?;
    let open = || guest.reaches_within("10.244.2.9", 6379, Duration::from_millis(50));
    let waited = lab.wait("the edited policy to allow guest", Duration::from_secs(5), open);
    let took = started.elapsed();
    let answer = guest.curl("http://10.244.2.9:6379/", Duration::from_secs(1))?;
    if waited.is_err() || !answer.ok() {
        return Ok(Seen::wrong("still blocked after 5 s".into()));
    }
    let text = format!("after {:.2} s", took.as_secs_f64());
    Ok(Seen {
        text,
        ok: took <= Duration::from_secs(1),
        below: Vec::new(),
    })
}

fn iperf3(lab: &Lab, target: &str) -> Result<Seen> {
    let output = lab
        .pod("web-1")?
        .run(&["iperf3", "-J", "--connect-timeout", "2000", "-t", "2", "-c", target])?;
    let figures = parse::iperf3(&output.stdout)?;
    let gigabits = figures.bits_per_second / 1e9;
    Ok(Seen {
        text: format!("{gigabits:.2} Gbit/s"),
        ok: gigabits > 0.0,
        below: Vec::new(),
    })
}

fn captured(lab: &Lab) -> Result<Seen> {
    let web = lab.place("web-1")?;
    let packet = capture::syn(lab, || answers(&web, "10.96.0.10", 10).map(|_| ()))?;
    let Some((was, service)) = packet.origin(lab)? else {
        return Ok(Seen::wrong("no such connection".into()));
    };
    let ok = packet.vni == 1 && packet.port == 8472 && was == "10.96.0.10:80" && service == "default/web";
    Ok(Seen {
        text: "decoded, below".into(),
        ok,
        below: packet.lines(&was, &service),
    })
}
