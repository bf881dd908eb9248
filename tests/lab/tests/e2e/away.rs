//! Connections that are open when an agent is killed: they go on, or they end so that their client notices.

use crate::clients::once_free;
use crate::cluster::*;
use serde_json::json;
use sluice_lab::{Lab, Place, Signal, Topology};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Where everybody listens.
const PORT: u16 = 9000;
/// A service for each scheduler, with the last number of its address.
const SERVICES: [(&str, u8); 4] = [("mh", 30), ("sh", 31), ("rr", 32), ("random", 33)];
/// Of the service scheduled by `mh`.
const NODE_PORT: u16 = 30900;

fn topology() -> Topology {
    let mut more = String::new();
    for (scheduler, last) in SERVICES {
        let (kind, node_port) = match scheduler {
            "mh" => ("NodePort", format!(", nodePort: {NODE_PORT}")),
            _ => ("ClusterIP", String::new()),
        };
        more += &format!(
            "  - {{name: {scheduler}, type: {kind}, clusterIPs: [10.96.0.{last}, \"fd00:96::{last}\"], selector: {{app: web}}, \
             ports: [{{name: talk, port: {PORT}{node_port}}}]}}\n"
        );
    }
    two_nodes_and(&more)
}

fn service(scheduler: &str, v6: bool) -> (IpAddr, u16) {
    let (_, last) = SERVICES.into_iter().find(|(name, _)| *name == scheduler).unwrap();
    let address = if v6 {
        format!("fd00:96::{last}")
    } else {
        format!("10.96.0.{last}")
    };
    (address.parse().unwrap(), PORT)
}

/// Gives each service the scheduler that it is named after.
fn schedule(lab: &Lab) {
    for (scheduler, _) in SERVICES {
        lab.edit(&format!("service-default-{scheduler}.yaml"), |service| {
            service["metadata"]["annotations"] = json!({"sluice.io/scheduler": scheduler});
        })
        .unwrap();
        let node = lab.node("node-a").unwrap();
        let name = format!("default/{scheduler}");
        lab.wait(&format!("{name} to be scheduled so"), PATIENCE, || {
            node.sluice_json(&["services", &name])
                .is_ok_and(|rows| rows[0]["scheduler"] == scheduler)
        })
        .unwrap();
    }
}

/// Everybody who listens at [`PORT`].
struct Servers(Vec<TcpListener>);

impl Servers {
    fn begin(lab: &Lab) -> Self {
        let listen = |name: &&str| {
            let place = lab.place(name).unwrap();
            // Ports that a node keeps when it masquerades: others are given new ones, and their connections end.
            let range = "echo 41000 60000 > /proc/sys/net/ipv4/ip_local_port_range";
            place.run(&["sh", "-c", range]).unwrap().text().unwrap();
            let listener = place
                .within(|| Ok(once_free(|| TcpListener::bind(("::", PORT)))?))
                .unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        Self(["web-1", "web-2", "outside", "user"].iter().map(listen).collect())
    }

    /// Connects and finds out who took it.
    fn connect(&self, kind: &'static str, from: &Place<'_>, to: (IpAddr, u16)) -> Open {
        let to = SocketAddr::from(to);
        let client = from
            .within(|| Ok(TcpStream::connect_timeout(&to, PATIENCE)?))
            .unwrap_or_else(|e| panic!("{kind} from {} to {to}: {e:#}", from.name()));
        let started = Instant::now();
        let server = loop {
            if let Some((server, _)) = self.0.iter().find_map(|listener| listener.accept().ok()) {
                break server;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{kind}: nobody took the connection to {to}"
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        for stream in [&client, &server] {
            stream.set_nonblocking(true).unwrap();
            stream.set_nodelay(true).unwrap();
        }
        Open {
            kind,
            to,
            client,
            server,
        }
    }
}

/// Both ends of a connection.
struct Open {
    kind: &'static str,
    to: SocketAddr,
    client: TcpStream,
    server: TcpStream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    GoesOn,
    /// The client was told.
    Ends,
}

impl Open {
    /// The client says something and hears the answer, or of the end.
    fn ask(&mut self) -> Outcome {
        let said = self.client.write_all(b"?");
        let heard = said.and_then(|()| hear(&mut self.server, b'?', &mut self.client));
        match heard {
            Ok(Outcome::GoesOn) => self.tell(),
            Ok(Outcome::Ends) => Outcome::Ends,
            Err(e) => self.ended(&e),
        }
    }

    /// The server says something, and the client only listens.
    fn tell(&mut self) -> Outcome {
        let said = self.server.write_all(b"!");
        let heard = said.and_then(|()| hear(&mut self.client, b'!', &mut self.server));
        // Both ends hear of an end; the one that speaks may hear of it first.
        match heard {
            Ok(Outcome::GoesOn) => Outcome::GoesOn,
            Ok(Outcome::Ends) => Outcome::Ends,
            Err(e) => self.ended(&e),
        }
    }

    fn ended(&self, error: &std::io::Error) -> Outcome {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Outcome::Ends,
            _ => panic!("{} to {}: {error}", self.kind, self.to),
        }
    }
}

/// Waits until `what` arrives at `at`, or `from`, who said it, hears of the connection's end.
fn hear(at: &mut TcpStream, what: u8, from: &mut TcpStream) -> std::io::Result<Outcome> {
    let started = Instant::now();
    let mut byte = [0];
    loop {
        match at.read(&mut byte) {
            Ok(0) => return Ok(Outcome::Ends),
            Ok(_) if byte[0] == what => return Ok(Outcome::GoesOn),
            Ok(_) => continue,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
        match from.peek(&mut byte) {
            Ok(0) => return Ok(Outcome::Ends),
            Err(e) if e.kind() != ErrorKind::WouldBlock => return Err(e),
            _ => {}
        }
        // A sender waits as long again as it has waited already before it sends once more.
        if started.elapsed() > PATIENCE * 3 {
            return Err(ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Connections of every kind that go on, and of those that may end; of both families.
fn open_all(lab: &Lab, servers: &Servers) -> (Vec<Open>, Vec<Open>) {
    let (user, outside) = (lab.place("user").unwrap(), lab.place("outside").unwrap());
    let node = lab.place("node-a").unwrap();
    let (mut stay, mut may_end) = (Vec::new(), Vec::new());
    for v6 in FAMILIES {
        for name in ["web-1", "web-2"] {
            stay.push(servers.connect("pod to pod", &user, (address(lab, name, v6), PORT)));
        }
        // Several, so that there are some to either endpoint.
        for _ in 0..6 {
            stay.push(servers.connect("mh", &user, service("mh", v6)));
            stay.push(servers.connect("node to mh", &node, service("mh", v6)));
            stay.push(servers.connect("node port", &outside, (of(NODE_A, v6), NODE_PORT)));
            may_end.push(servers.connect("rr", &user, service("rr", v6)));
            may_end.push(servers.connect("random", &user, service("random", v6)));
        }
        stay.push(servers.connect("sh", &user, service("sh", v6)));
        stay.push(servers.connect("masqueraded", &user, (of(OUTSIDE, v6), PORT)));
    }
    (stay, may_end)
}

/// Kills the agent of the first node and starts it again, while `open` try to speak; nobody outside hears a reset of
/// the node's kernel.
fn away(lab: &Lab, speak: impl FnOnce()) {
    let (node, outside) = (lab.node("node-a").unwrap(), lab.place("outside").unwrap());
    node.kill_agent(Signal::SIGKILL).unwrap();
    let filter = format!("tcp port {NODE_PORT} or tcp port {PORT}");
    let tcpdump = outside
        .spawn(&["tcpdump", "-n", "-l", "--immediate-mode", "-i", "eth0", &filter])
        .unwrap();
    // It hears what is sent, so it would hear a reset.
    let begun = || {
        outside.reaches_within(NODE_A[0], NODE_PORT, Duration::from_millis(50));
        tcpdump.said().contains("Flags [S]")
    };
    lab.wait("tcpdump to begin", PATIENCE, begun).unwrap();
    speak();
    lab.wait("data of open connections", PATIENCE, || {
        tcpdump.said().contains("Flags [P.]")
    })
    .unwrap();
    let said = tcpdump.stop().stdout;
    assert!(!said.contains("Flags [R"), "{said}");
    node.start_agent().unwrap();
}

#[test]
fn connections_go_on_after_sigkill_or_end_so_that_their_client_notices() {
    alone_in_lab(&topology(), |lab| {
        schedule(lab);
        let servers = Servers::begin(lab);
        let (mut stay, mut may_end) = open_all(lab, &servers);
        for open in stay.iter_mut().chain(&mut may_end) {
            assert_eq!(open.ask(), Outcome::GoesOn, "{} to {}", open.kind, open.to);
        }
        away(lab, || {
            for open in &mut stay {
                open.client.write_all(b".").unwrap();
            }
        });
        for open in &mut stay {
            assert_eq!(open.ask(), Outcome::GoesOn, "{} to {}", open.kind, open.to);
        }
        let outcomes: Vec<Outcome> = may_end.iter_mut().map(Open::ask).collect();
        // Each would have to meet its old endpoint by luck: 24 fair coins.
        assert!(outcomes.contains(&Outcome::Ends), "{outcomes:?}");
    });
}

#[test]
fn a_server_that_speaks_first_after_sigkill_is_heard_in_the_name_that_was_connected_to() {
    alone_in_lab(&topology(), |lab| {
        schedule(lab);
        let servers = Servers::begin(lab);
        let (mut stay, mut may_end) = open_all(lab, &servers);
        // Whose other end is outside is asked by nobody: which pod or endpoint it spoke with, only its packets can tell.
        stay.retain(|open| !["node port", "masqueraded"].contains(&open.kind));
        for open in stay.iter_mut().chain(&mut may_end) {
            assert_eq!(open.ask(), Outcome::GoesOn, "{} to {}", open.kind, open.to);
        }
        let outside = lab.place("outside").unwrap();
        let mut loud = servers.connect("node port", &outside, (of(NODE_A, false), NODE_PORT));
        away(lab, || loud.client.write_all(b".").unwrap());
        for open in &mut stay {
            assert_eq!(open.tell(), Outcome::GoesOn, "{} to {}", open.kind, open.to);
        }
        for open in &mut may_end {
            open.tell();
        }
        let counters = lab.node("node-a").unwrap().sluice_json(&["counters"]).unwrap();
        let drops = counters["drops"].as_array().unwrap();
        let asked = drops
            .iter()
            .any(|d| d["reason"] == "endpoint_first" && d["packets"] != 0);
        assert!(asked, "{counters:#}");
    });
}
