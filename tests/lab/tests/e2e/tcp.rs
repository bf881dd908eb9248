//! TCP connections that do not live as most do, between real kernels.

use crate::clients::{Conversation, once_free};
use crate::cluster::*;
use crate::faults;
use crate::frames::{mac_at, reset};
use crate::raw::{contains, raw};
use etherparse::{SlicedPacket, TransportSlice};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use serde_json::Value;
use sluice_lab::{Lab, Place};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

const PORT: u16 = 9000;

/// States of the TCP connections from one of these to this port of the other, in the eyes of node-a's agent.
fn states(lab: &Lab, ends: [IpAddr; 2], port: u16) -> Vec<String> {
    let rows = lab.node("node-a").unwrap().sluice_json(&["flows"]).unwrap();
    let between = |row: &&Value| {
        let end = |which: &str| row[which].as_str().and_then(|text| text.parse().ok());
        let same = [end("source"), end("destination")] == ends.map(Some);
        row["protocol"] == "tcp" && same && row["destination_port"] == port
    };
    let rows = rows.as_array().unwrap().iter().filter(between);
    rows.map(|row| row["state"].as_str().unwrap().to_string()).collect()
}

/// One side has said all it will, and listens as long as it takes.
#[test]
fn half_a_connection_works_as_long_as_it_is_used() {
    in_lab(&two_nodes(), |lab| {
        let user = lab.pod("user").unwrap();
        for (to, v6) in ["web-1", "web-2", "outside"]
            .into_iter()
            .flat_map(|to| FAMILIES.map(|v6| (to, v6)))
        {
            let place = lab.place(to).unwrap();
            let target = if to == "outside" {
                of(OUTSIDE, v6)
            } else {
                address(lab, to, v6)
            };
            let any = if v6 { "[::]" } else { "0.0.0.0" };
            let listener = place
                .within(|| Ok(once_free(|| TcpListener::bind(format!("{any}:{PORT}")))?))
                .unwrap();
            let to = SocketAddr::new(target, PORT);
            let mut client = user.within(|| Ok(TcpStream::connect_timeout(&to, PATIENCE)?)).unwrap();
            let mut server = listener.accept().unwrap().0;
            for end in [&client, &server] {
                end.set_read_timeout(Some(PATIENCE)).unwrap();
            }
            client.write_all(b"a question").unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut asked = String::new();
            server.read_to_string(&mut asked).unwrap();
            assert_eq!(asked, "a question");
            // Each part is waited for, so that all are packets of their own.
            for part in 0..200u8 {
                server.write_all(&[part]).unwrap();
                let mut got = [0];
                client.read_exact(&mut got).unwrap();
                assert_eq!(got, [part]);
            }
            drop(server);
            assert_eq!(client.read(&mut [0]).unwrap(), 0, "{to}: an end in order");
        }
    });
}

/// A socket bound to `PORT` of the pod.
fn bound(pod: &Place<'_>, own: IpAddr) -> OwnedFd {
    let family = if own.is_ipv6() {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let make = || {
        let fd = socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK, None)?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(own, PORT)))?;
        Ok(fd)
    };
    pod.within(make).unwrap()
}

/// Both sides connect to each other, and neither listens. The second one's kernel must not refuse the first one's SYN before
/// it has sent its own, so its resets stay at home.
#[test]
fn two_pods_open_one_connection_at_once() {
    in_lab(&two_nodes(), |lab| {
        let first = lab.pod("user").unwrap();
        for (to, v6) in ["web-1", "web-2"]
            .into_iter()
            .flat_map(|to| FAMILIES.map(|v6| (to, v6)))
        {
            let second = lab.pod(to).unwrap();
            let hush = "nft 'add table inet hush; add chain inet hush out { type filter hook output priority 0; }; \
                 add rule inet hush out tcp flags & rst == rst counter drop'";
            second.run(&["sh", "-c", hush]).unwrap().text().unwrap();
            let (a, b) = (address(lab, "user", v6), address(lab, to, v6));
            let (one, two) = (bound(&first, a), bound(&second, b));
            let begin =
                |fd: &OwnedFd, to| _ = connect(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(to, PORT)));
            begin(&one, b);
            let refused = || {
                let said = second.run(&["nft", "list", "chain", "inet", "hush", "out"]).unwrap();
                !said.text().unwrap().contains("packets 0 ")
            };
            lab.wait("the first SYN to be refused in vain", PATIENCE, refused)
                .unwrap();
            begin(&two, a);
            let (mut one, mut two) = (TcpStream::from(one), TcpStream::from(two));
            for end in [&one, &two] {
                end.set_nonblocking(false).unwrap();
                end.set_read_timeout(Some(PATIENCE)).unwrap();
                lab.wait("the connection", PATIENCE, || end.peer_addr().is_ok())
                    .unwrap();
            }
            for (from, to) in [(0, 1), (1, 0), (0, 1)] {
                let ends = [&mut one, &mut two];
                ends[from].write_all(b"hello").unwrap();
                let mut got = [0; 5];
                ends[to].read_exact(&mut got).unwrap();
                assert_eq!(&got, b"hello");
            }
            assert_eq!(states(lab, [a, b], PORT), ["established"], "{to}: one connection");
            drop((one, two));
            second
                .run(&["nft", "delete", "table", "inet", "hush"])
                .unwrap()
                .text()
                .unwrap();
            lab.wait("its end", PATIENCE, || states(lab, [a, b], PORT) != ["established"])
                .unwrap();
        }
    });
}

/// Somebody knows addresses and ports of a masqueraded connection, and guesses a sequence number within the window. The pod's
/// kernel protests (RFC 5961 section 3.2), nobody answers, and all is as before.
#[test]
fn a_guessed_reset_is_challenged_and_forgotten() {
    in_lab(&two_nodes(), |lab| {
        let (user, outside) = (lab.pod("user").unwrap(), lab.place("outside").unwrap());
        let (wire, pod) = (raw(lab, &outside), raw(lab, &user));
        for v6 in FAMILIES {
            let server = of(OUTSIDE, v6);
            let mut talk = Conversation::open(&user, (server, 80));
            talk.http(PATIENCE).unwrap();
            let answer = |frame: &[u8]| contains(frame, b"HTTP/1.1 200 OK") && (frame[12] == 0x86) == v6;
            let answer = wire.next(PATIENCE, answer).expect("the answer");
            let sliced = SlicedPacket::from_ethernet(&answer).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
                panic!("no TCP")
            };
            let (macs, port) = ((mac_at(&answer, 6), mac_at(&answer, 0)), tcp.destination_port());
            let next = tcp.sequence_number().wrapping_add(tcp.payload().len() as u32);
            let guess = next.wrapping_add(1000);
            let flag = |frame: &[u8], own: bool| match SlicedPacket::from_ethernet(frame).map(|p| p.transport) {
                Ok(Some(TransportSlice::Tcp(tcp))) if own => tcp.destination_port() == 80 && tcp.ack(),
                Ok(Some(TransportSlice::Tcp(tcp))) => tcp.source_port() == 80 && tcp.rst(),
                _ => false,
            };
            let ends = [address(lab, "user", v6), server];
            let forgotten = || {
                wire.send(&reset(macs, (server, 80), (of(NODE_A, v6), port), guess));
                pod.next(PATIENCE, |f| flag(f, false))
                    .ok_or("the reset does not reach the pod, which is to judge it")?;
                pod.next(PATIENCE, |f| flag(f, true)).ok_or("no challenge")?;
                let established = || states(lab, ends, 80) == ["established"];
                lab.wait("the reset to be forgotten", PATIENCE, established)
                    .map_err(|_| "the reset is not forgotten")
            };
            faults::again(forgotten, Result::is_ok).unwrap();
            talk.http(PATIENCE).unwrap();
        }
    });
}
