//! Frames by hand, for what no program sends by itself.

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep};
use sluice_lab::Place;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) type Mac = [u8; 6];
pub(crate) type End = (IpAddr, u16);

pub(crate) fn mac_at(frame: &[u8], at: usize) -> Mac {
    frame[at..at + 6].try_into().unwrap()
}

fn mac(text: &str) -> Mac {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap());
    bytes.collect::<Vec<_>>().try_into().unwrap()
}

/// The MAC of a place's interface.
pub(crate) fn mac_of(place: &Place<'_>) -> Mac {
    let said = place.run(&["ip", "-o", "link", "show", "eth0"]).unwrap();
    let text = said.text().unwrap().split("link/ether ").nth(1).expect("a MAC");
    mac(&text[..17])
}

/// The MAC that a pod's default route leads to.
pub(crate) fn gateway_of(pod: &Place<'_>) -> Mac {
    let show = "ping -n -c 1 -W 5 10.244.1.0 >/dev/null; ip -4 neigh show dev eth0";
    let said = pod.run(&["sh", "-c", show]).unwrap();
    let text = said.text().unwrap().split("lladdr ").nth(1);
    mac(&text.unwrap_or_else(|| panic!("no gateway: {said}"))[..17])
}

fn ip(macs: (Mac, Mac), src: IpAddr, dst: IpAddr) -> PacketBuilderStep<IpHeaders> {
    let ethernet = PacketBuilder::ethernet2(macs.0, macs.1);
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => ethernet.ipv4(src.octets(), dst.octets(), 64),
        (IpAddr::V6(src), IpAddr::V6(dst)) => ethernet.ipv6(src.octets(), dst.octets(), 64),
        _ => panic!("two families"),
    }
}

/// A UDP datagram with `payload`.
pub(crate) fn datagram(macs: (Mac, Mac), from: End, to: End, payload: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = ip(macs, from.0, to.0).udp(from.1, to.1);
    builder.write(&mut frame, payload.as_bytes()).unwrap();
    frame
}

/// A TCP reset with this sequence number.
pub(crate) fn reset(macs: (Mac, Mac), from: End, to: End, seq: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = ip(macs, from.0, to.0).tcp(from.1, to.1, seq, 0).rst();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

/// An ARP packet for Ethernet and IPv4, to everybody.
pub(crate) fn arp(op: u16, from: Mac, sender: Ipv4Addr, sender_mac: Mac, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = [&[0xff; 6], &from[..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, op as u8]].concat();
    frame.extend(sender_mac);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// A message of neighbour discovery: hop limit 255, code 0, and `body` behind the checksum.
pub(crate) fn icmp6(from: Mac, to: Mac, src: Ipv6Addr, dst: Ipv6Addr, kind: u8, body: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from, to).ipv6(src.octets(), dst.octets(), 255);
    let (rest, payload) = body.split_first_chunk::<4>().unwrap();
    let mut frame = Vec::new();
    builder.icmpv6_raw(kind, 0, *rest).write(&mut frame, payload).unwrap();
    frame
}

/// An SCTP packet with one DATA chunk of `payload` (RFC 9260 sections 3.1 and 3.3.1).
pub(crate) fn sctp(macs: (Mac, Mac), from: End, to: End, payload: &str) -> Vec<u8> {
    let mut segment = [
        &from.1.to_be_bytes()[..],
        &to.1.to_be_bytes(),
        &[1, 2, 3, 4, 0, 0, 0, 0],
    ]
    .concat();
    segment.extend([0, 3]);
    segment.extend((16 + payload.len() as u16).to_be_bytes());
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 51]);
    segment.extend(payload.as_bytes());
    segment.resize(sctp_len(payload), 0);
    let sum = crc32c(&segment).to_le_bytes();
    segment[8..12].copy_from_slice(&sum);
    let mut frame = Vec::new();
    let builder = ip(macs, from.0, to.0);
    builder.write(&mut frame, etherparse::IpNumber(132), &segment).unwrap();
    frame
}

/// Bytes of that packet behind the IP header.
pub(crate) fn sctp_len(payload: &str) -> usize {
    28 + payload.len().next_multiple_of(4)
}

/// Bit by bit (RFC 9260 appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    };
    !bytes.iter().fold(!0, step)
}

#[test]
fn the_checksum_of_the_rfc() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}
