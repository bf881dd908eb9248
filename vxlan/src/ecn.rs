//! Decides which ECN bits a packet has inside and outside a tunnel (RFC 6040). It never touches a packet.

use sluice_wire::DropReason;

const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const CE: u8 = 0b11;

/// The outer ECN bits for an inner type of service or traffic class: copied (RFC 6040 section 4.1, normal mode).
pub const fn encap_ecn(inner_tos: u8) -> u8 {
    inner_tos & 0b11
}

/// The inner packet's new ECN bits after decapsulation, from the lower two bits of both type of service bytes (RFC 6040 section
/// 4.2, figure 4). [`DropReason::TunnelCongestion`] where congestion was met and the sender could not be told otherwise.
pub const fn decap_ecn(outer: u8, inner: u8) -> Result<u8, DropReason> {
    match (outer & 0b11, inner & 0b11) {
        (CE, NOT_ECT) => Err(DropReason::TunnelCongestion),
        (_, NOT_ECT) => Ok(NOT_ECT),
        (CE, _) => Ok(CE),
        // ECT(1) on the outside may be a mild congestion signal; CE on the inside outranks it.
        (ECT_1, CE) => Ok(CE),
        (ECT_1, _) => Ok(ECT_1),
        (_, inner) => Ok(inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_rfc() {
        const ECT_0: u8 = 0b10;
        // Rows: inner Not-ECT, ECT(0), ECT(1), CE; columns: outer Not-ECT, ECT(0), ECT(1), CE.
        let columns = [NOT_ECT, ECT_0, ECT_1, CE];
        let rows = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
            (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
            (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
        ];
        for (inner, row) in rows {
            for (outer, wanted) in columns.into_iter().zip(row) {
                // The DSCP bits around them must not matter.
                let got = decap_ecn(outer | 0xb8, inner | 0x28);
                assert_eq!(
                    got,
                    wanted.ok_or(DropReason::TunnelCongestion),
                    "inner {inner:02b} outer {outer:02b}"
                );
            }
        }
    }
}
