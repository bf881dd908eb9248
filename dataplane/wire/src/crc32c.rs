//! Decides SCTP's checksum, CRC-32C (RFC 9260 appendix A). It is not for the hot path: one table look-up a byte.

const TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            // The Castagnoli polynomial, bits reversed.
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

fn feed(crc: u32, bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(crc, |crc, byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

/// The CRC of an SCTP packet from its common header on, with the checksum field (bytes 8 to 11) taken as zero.
fn of_packet(packet: &[u8]) -> Option<[u8; 4]> {
    let (before, after) = (packet.get(..8)?, packet.get(12..)?);
    Some((!feed(feed(feed(!0, before), &[0; 4]), after)).to_le_bytes())
}

/// Whether an SCTP packet's checksum is right.
pub(crate) fn matches(packet: &[u8]) -> bool {
    of_packet(packet).is_some_and(|crc| packet[8..12] == crc)
}

/// Writes an SCTP packet's checksum; a packet too short for it is left alone.
pub(crate) fn write(packet: &mut [u8]) {
    if let Some(crc) = of_packet(packet) {
        packet[8..12].copy_from_slice(&crc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue() {
        // "123456789" is the customary test input; its CRC-32C is published as 0xe3069283.
        assert_eq!(!feed(!0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_changed_byte_shows() {
        let mut packet = *b"\x13\x88\x13\x89tagsCCCCdata of a chunk";
        write(&mut packet);
        assert!(matches(&packet));
        packet[20] ^= 1;
        assert!(!matches(&packet));
        assert!(!matches(&packet[..11]));
    }
}
