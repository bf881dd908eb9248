//! Fragments cut and put together again, slowly and by the book (RFC 791 section 3.2, RFC 8200 section 4.5), for frames without
//! IPv4 options and IPv6 extension headers.

/// Cuts the frame of a whole packet into fragments whose payloads have `size` bytes, a multiple of 8.
pub(super) fn cut(frame: &[u8], size: usize, id: u32) -> Vec<Vec<u8>> {
    let v6 = frame[14] >> 4 == 6;
    let front = if v6 { 54 } else { 34 };
    let pieces: Vec<&[u8]> = frame[front..].chunks(size).collect();
    let count = pieces.len();
    let fragment = |(i, piece): (usize, &&[u8])| {
        let mut out = frame[..front].to_vec();
        let (offset, more) = ((i * size) as u16, u16::from(i + 1 < count));
        if v6 {
            out.extend([out[20], 0]);
            out.extend((offset | more).to_be_bytes());
            out.extend(id.to_be_bytes());
            out[20] = 44;
        } else {
            out[18..20].copy_from_slice(&(id as u16).to_be_bytes());
            out[20..22].copy_from_slice(&(more << 13 | offset >> 3).to_be_bytes());
        }
        out.extend(*piece);
        fix(&mut out);
        out
    };
    pieces.iter().enumerate().map(fragment).collect()
}

/// Sets length and IPv4 checksum.
pub(super) fn fix(frame: &mut [u8]) {
    if frame[14] >> 4 == 6 {
        let len = (frame.len() - 54) as u16;
        frame[18..20].copy_from_slice(&len.to_be_bytes());
        return;
    }
    let len = (frame.len() - 14) as u16;
    frame[16..18].copy_from_slice(&len.to_be_bytes());
    frame[24..26].fill(0);
    let words = frame[14..34].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[24..26].copy_from_slice(&(!sum as u16).to_be_bytes());
}

/// Offset, whether others follow, identification, and where the payload begins.
fn place(frame: &[u8]) -> (usize, bool, u32, usize) {
    let half = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    if frame[14] >> 4 == 6 {
        assert_eq!(frame[20], 44, "a fragment");
        let id = u32::from(half(58)) << 16 | u32::from(half(60));
        return (usize::from(half(56) & !7), half(56) & 1 == 1, id, 62);
    }
    let field = half(20);
    (
        usize::from(field & 0x1fff) * 8,
        field & 0x2000 != 0,
        u32::from(half(18)),
        34,
    )
}

/// The whole packet that these fragments, in any order, are of. `None` when a byte is missing, comes twice, or lies behind the end.
pub(super) fn join(frames: &[Vec<u8>]) -> Option<Vec<u8>> {
    let first = frames.iter().find(|f| place(f).0 == 0)?;
    let v6 = first[14] >> 4 == 6;
    let mut bytes: Vec<Option<u8>> = Vec::new();
    let mut end = None;
    for frame in frames {
        let (offset, more, id, payload) = place(frame);
        if id != place(first).2 || frame[..12] != first[..12] {
            return None;
        }
        let body = &frame[payload..];
        bytes.resize(bytes.len().max(offset + body.len()), None);
        for (at, byte) in body.iter().enumerate() {
            if bytes[offset + at].replace(*byte).is_some() {
                return None;
            }
        }
        if !more && end.replace(offset + body.len()).is_some() {
            return None;
        }
    }
    if end? != bytes.len() {
        return None;
    }
    let mut out = first[..if v6 { 54 } else { 34 }].to_vec();
    if v6 {
        out[20] = first[54];
    } else {
        out[20] &= !0x20;
    }
    out.extend(bytes.into_iter().collect::<Option<Vec<u8>>>()?);
    fix(&mut out);
    Some(out)
}
