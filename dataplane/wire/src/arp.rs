//! Decides what an ARP packet asks, and answers it (RFC 826). It never decides whether we should answer.

use crate::parse::ethertype;
use crate::{Addr, DropReason, ETH_LEN, MacAddr};

/// Ethernet, IPv4, lengths 6 and 4: how every ARP packet that we read begins.
const PREFIX: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// What an ARP packet says of `target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpOp {
    /// Who has it?
    Request,
    /// It is here.
    Reply,
}

/// An ARP packet for Ethernet and IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Question or answer.
    pub op: ArpOp,
    /// Hardware address of the sender, as it claims.
    pub sender_mac: MacAddr,
    /// IPv4 address of the sender; 0.0.0.0 in a probe (RFC 5227).
    pub sender: Addr,
    /// Hardware address of the target; means nothing in a request.
    pub target_mac: MacAddr,
    /// IPv4 address that is asked for, or answered to.
    pub target: Addr,
}

/// Reads the ARP packet at the front of `bytes`, which follow the Ethernet header.
pub fn view(bytes: &[u8]) -> Result<Arp, DropReason> {
    let b = bytes.first_chunk::<28>().ok_or(DropReason::ArpMalformed)?;
    let op = match u16::from_be_bytes([b[6], b[7]]) {
        REQUEST => ArpOp::Request,
        REPLY => ArpOp::Reply,
        _ => return Err(DropReason::ArpMalformed),
    };
    if b[..6] != PREFIX {
        return Err(DropReason::ArpMalformed);
    }
    Ok(Arp {
        op,
        sender_mac: MacAddr([b[8], b[9], b[10], b[11], b[12], b[13]]),
        sender: Addr::v4([b[14], b[15], b[16], b[17]]),
        target_mac: MacAddr([b[18], b[19], b[20], b[21], b[22], b[23]]),
        target: Addr::v4([b[24], b[25], b[26], b[27]]),
    })
}

/// Turns the request in `frame` into the answer that its target is at `our`, in place; padding stays.
///
/// False, with nothing changed, when the frame is no ARP request.
pub fn reply(frame: &mut [u8], our: MacAddr) -> bool {
    let Some((ethernet, rest)) = frame.split_first_chunk_mut::<ETH_LEN>() else {
        return false;
    };
    if u16::from_be_bytes([ethernet[12], ethernet[13]]) != ethertype::ARP {
        return false;
    }
    let Ok(Arp {
        op: ArpOp::Request,
        sender_mac,
        sender,
        target,
        ..
    }) = view(rest)
    else {
        return false;
    };
    let Some(body) = rest.first_chunk_mut::<28>() else {
        return false;
    };
    ethernet.copy_within(6..12, 0);
    ethernet[6..12].copy_from_slice(&our.0);
    body[6..8].copy_from_slice(&REPLY.to_be_bytes());
    body[8..14].copy_from_slice(&our.0);
    body[14..18].copy_from_slice(&target.v4_octets());
    body[18..24].copy_from_slice(&sender_mac.0);
    body[24..28].copy_from_slice(&sender.v4_octets());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: [u8; 42] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 7, 0x08, 0x06, // Ethernet
        0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 7, 10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 10, 1, 2, 1,
    ];

    #[test]
    fn a_request_becomes_the_answer_and_the_padding_stays() {
        let mut frame = ASK.to_vec();
        frame.extend([0xaa; 18]);
        assert!(reply(&mut frame, MacAddr([2, 9, 9, 9, 9, 9])));
        assert_eq!(frame[..14], [2, 0, 0, 0, 0, 7, 2, 9, 9, 9, 9, 9, 8, 6]);
        let answer = view(&frame[14..]).unwrap();
        assert_eq!(answer.op, ArpOp::Reply);
        assert_eq!(
            (answer.sender_mac, answer.sender),
            (MacAddr([2, 9, 9, 9, 9, 9]), Addr::v4([10, 1, 2, 1]))
        );
        assert_eq!(
            (answer.target_mac, answer.target),
            (MacAddr([2, 0, 0, 0, 0, 7]), Addr::v4([10, 1, 2, 3]))
        );
        assert_eq!(frame[42..], [0xaa; 18]);
        assert!(!reply(&mut frame, MacAddr::BROADCAST), "an answer is not answered");
    }

    #[test]
    fn every_field_that_must_be_fixed_is_checked() {
        for at in 14..22 {
            let mut frame = ASK;
            frame[at] ^= 0x40;
            assert_eq!(view(&frame[14..]), Err(DropReason::ArpMalformed), "byte {at}");
        }
        assert_eq!(view(&ASK[14..41]), Err(DropReason::ArpMalformed));
    }
}
