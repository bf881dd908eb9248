//! Frames that etherparse does not build: options, extension headers, tags, and SCTP.

use super::packet::Packet;
use sluice_wire::{Proto, checksum};

/// The IPv4 packet with these options, padded to whole words.
pub(super) fn with_options(packet: &Packet, options: &[u8]) -> Vec<u8> {
    let frame = packet.frame();
    let mut padded = options.to_vec();
    padded.resize(options.len().next_multiple_of(4), 0);
    let mut out = [&frame[..34], &padded, &frame[34..]].concat();
    out[14] = 0x45 + (padded.len() / 4) as u8;
    let total = (out.len() - 14) as u16;
    out[16..18].copy_from_slice(&total.to_be_bytes());
    out[24..26].fill(0);
    let sum = checksum::sum(&out[14..34 + padded.len()]).checksum();
    out[24..26].copy_from_slice(&sum.to_be_bytes());
    out
}

/// An extension header: its number and its bytes, of which the first will say what follows.
pub(super) type Extension<'a> = (u8, &'a [u8]);

/// The IPv6 packet with these headers before its transport's.
pub(super) fn with_extensions(packet: &Packet, headers: &[Extension<'_>]) -> Vec<u8> {
    let frame = packet.frame();
    let mut out = frame[..54].to_vec();
    let mut link = 20;
    for (number, bytes) in headers {
        let next = out[link];
        out[link] = *number;
        link = out.len();
        out.extend(*bytes);
        out[link] = next;
    }
    out.extend(&frame[54..]);
    let length = (out.len() - 54) as u16;
    out[18..20].copy_from_slice(&length.to_be_bytes());
    out
}

/// `frame` with this Ethernet type and these bytes in front of its own.
pub(super) fn tagged(frame: &[u8], tag: &[u8]) -> Vec<u8> {
    [&frame[..12], tag, &frame[12..]].concat()
}

/// The packet as another protocol, with nothing changed behind the IP header.
pub(super) fn with_protocol(packet: &Packet, proto: Proto) -> Vec<u8> {
    let mut frame = packet.frame();
    if !packet.is_v4() {
        frame[20] = proto.0;
        return frame;
    }
    frame[23] = proto.0;
    frame[24..26].fill(0);
    let sum = checksum::sum(&frame[14..34]).checksum();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// An SCTP packet between these ends with the packet's other fields: ports, verification tag, CRC32c, one chunk.
pub(super) fn sctp(packet: &Packet) -> Vec<u8> {
    // As many bytes as UDP's header and twelve more, so that lengths are right.
    let mut chunk = vec![0u8, 3, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 51];
    chunk.extend(b"data");
    let udp = packet.clone().with([&[0; 4], &chunk[..]].concat());
    let mut frame = with_protocol(&udp, Proto::SCTP);
    let at = frame.len() - 12 - chunk.len();
    frame[at + 4..at + 8].copy_from_slice(&[1, 2, 3, 4]);
    frame[at + 8..at + 12].fill(0);
    frame[at + 12..].copy_from_slice(&chunk);
    let sum = crc32c(&frame[at..]);
    frame[at + 8..at + 12].copy_from_slice(&sum.to_le_bytes());
    frame
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
