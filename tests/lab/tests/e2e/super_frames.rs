//! What comes from another node packet by packet, and reaches a pod's kernel as super-frames.

use crate::balance::total;
use crate::clients::{once_free, udp_socket_to};
use crate::cluster::*;
use crate::faults;
use nix::sys::socket::{setsockopt, sockopt};
use sluice_lab::Place;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};

const PORT: u16 = 9000;
const BULK: usize = 8 << 20;
/// Datagrams of one call of the sender, which its kernel gives as one super-frame.
const AT_ONCE: usize = 20;
const DATAGRAM: usize = 1000;

/// Bytes that repeat nowhere near (xorshift64, Marsaglia 2003), so that a piece in the wrong place is seen.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(word).flatten().take(len).collect()
}

/// What the receiver gets of a connection over which the sender writes this.
fn over_tcp(from: &Place<'_>, to: &Place<'_>, at: IpAddr, sent: &[u8]) -> Vec<u8> {
    let listener = to.within(|| Ok(once_free(|| TcpListener::bind((at, PORT)))?)).unwrap();
    let at = SocketAddr::new(at, PORT);
    let mut client = from.within(|| Ok(TcpStream::connect_timeout(&at, PATIENCE)?)).unwrap();
    let mut server = listener.accept().unwrap().0;
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || client.write_all(sent).unwrap());
        let mut got = Vec::new();
        server.read_to_end(&mut got).unwrap();
        got
    })
}

/// Two sockets between which datagrams go, the sender's first.
fn udp_pair(from: &Place<'_>, to: &Place<'_>, at: IpAddr) -> [UdpSocket; 2] {
    let receiver = to.within(|| Ok(once_free(|| UdpSocket::bind((at, PORT)))?)).unwrap();
    let sender = from.within(|| Ok(udp_socket_to((at, PORT))?)).unwrap();
    setsockopt(&sender, sockopt::UdpGsoSegment, &(DATAGRAM as i32)).unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    [sender, receiver]
}

/// Sends some datagrams at once, and says how long each is that comes, and what they hold.
fn over_udp([sender, receiver]: &[UdpSocket; 2], sent: &[u8]) -> (Vec<usize>, Vec<u8>) {
    assert_eq!(sender.send(sent).unwrap(), sent.len());
    let (mut lengths, mut got) = (Vec::new(), Vec::new());
    while got.len() < sent.len() {
        let mut datagram = [0; 2 * DATAGRAM];
        let len = receiver.recv(&mut datagram).expect("all of the datagrams");
        lengths.push(len);
        got.extend_from_slice(&datagram[..len]);
    }
    (lengths, got)
}

#[test]
fn what_comes_from_another_node_arrives_whole_in_super_frames() {
    in_lab(&two_nodes(), |lab| {
        let (user, web) = (lab.place("user").unwrap(), lab.place("web-2").unwrap());
        let node = lab.node("node-b").unwrap();
        let counts = || (total(&node, "super_frames"), total(&node, "merged_frames"));
        let bulk = noise(BULK);
        // Linux before 6.2 takes no super-frames of datagrams.
        let floor = std::env::var("SLUICE_TESTING").is_ok_and(|words| words.contains("floor"));
        for v6 in FAMILIES {
            let before = counts();
            let at = address(lab, "web-2", v6);
            assert!(over_tcp(&user, &web, at, &bulk) == bulk, "IPv6 {v6}: other bytes");
            let after = counts();
            let (made, merged) = (after.0 - before.0, after.1 - before.1);
            assert!(
                made > 0 && merged > made,
                "IPv6 {v6}: {made} super-frames, {merged} merged"
            );

            if faults::everywhere() || floor {
                continue;
            }
            let (pair, before) = (udp_pair(&user, &web, at), after.0);
            let waited = lab.wait("datagrams to be gathered", PATIENCE, || {
                let (lengths, got) = over_udp(&pair, &bulk[..AT_ONCE * DATAGRAM]);
                assert_eq!(lengths, [DATAGRAM; AT_ONCE]);
                assert!(
                    got == bulk[..AT_ONCE * DATAGRAM],
                    "IPv6 {v6}: other datagrams, or in another order"
                );
                counts().0 > before
            });
            waited.unwrap();
        }
    });
}
