//! Decides how an IPv4 packet is cut into fragments (RFC 791 section 3.2), and writes them. It never fragments IPv6, nor what
//! says that it must not be.

use crate::{DropReason, Parsed, checksum};

const FLAGS_AT: usize = 6;
const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;
/// Bit of an option's type that says: copy me into every fragment.
const COPIED: u8 = 0x80;

/// How one IPv4 packet is cut. Its transport checksum must be complete: no fragment holds enough to complete it later.
#[derive(Clone, Copy, Debug)]
pub struct FragmentPlan {
    l3: usize,
    header: usize,
    payload: usize,
    /// Payload of every fragment but the last, a multiple of 8.
    size: usize,
}

impl FragmentPlan {
    /// Plans the packet `p` in `frame` into IP packets of at most `mtu` bytes.
    ///
    /// [`DropReason::TooBig`] when it must not be fragmented, or `mtu` has no room for a header and eight bytes.
    pub fn new(frame: &[u8], p: &Parsed, mtu: u16) -> Result<Self, DropReason> {
        let (l3, end) = (usize::from(p.l3), p.end as usize);
        let header = frame.get(l3).map_or(0, |first| usize::from(first & 0x0f) * 4);
        let size = usize::from(mtu).saturating_sub(header) & !7;
        if p.dont_fragment || p.v6 || size == 0 || header < 20 || end > frame.len() || l3 + header > end {
            return Err(DropReason::TooBig);
        }
        Ok(Self {
            l3,
            header,
            payload: end - l3 - header,
            size,
        })
    }

    /// Fragments; at least one.
    pub const fn count(&self) -> usize {
        let count = self.payload.div_ceil(self.size);
        if count == 0 { 1 } else { count }
    }

    /// Bytes of fragment `i`, everything before the IP header included; 0 when there is no such fragment.
    pub const fn fragment_len(&self, i: usize) -> usize {
        if i >= self.count() {
            return 0;
        }
        let left = self.payload - i * self.size;
        self.l3 + self.header + if left < self.size { left } else { self.size }
    }

    /// Writes fragment `i` of `source`, the frame that was planned, to the front of `out`. A fragment may be cut again.
    ///
    /// False, with `out` in an unspecified state, when there is no such fragment, or `out` is shorter than
    /// [`Self::fragment_len`], or `source` is not the frame that was planned.
    pub fn write(&self, i: usize, source: &[u8], out: &mut [u8]) -> bool {
        self.try_write(i, source, out).is_some()
    }

    fn try_write(&self, i: usize, source: &[u8], out: &mut [u8]) -> Option<()> {
        let len = self.fragment_len(i);
        let front = self.l3 + self.header;
        let (head, body) = out.get_mut(..len).filter(|_| len > 0)?.split_at_mut(front);
        let from = front + i * self.size;
        head.copy_from_slice(source.get(..front)?);
        body.copy_from_slice(source.get(from..from + body.len())?);
        let ip = head.get_mut(self.l3..)?;
        if i > 0 {
            blank_options(ip.get_mut(20..)?);
        }
        let header = ip.first_chunk_mut::<20>()?;
        header[2..4].copy_from_slice(&((len - self.l3) as u16).to_be_bytes());
        let field = u16::from_be_bytes([header[FLAGS_AT], header[FLAGS_AT + 1]]);
        let more = if i + 1 < self.count() { MORE } else { 0 };
        let offset = usize::from(field & OFFSET) + i * self.size / 8;
        if offset > usize::from(OFFSET) {
            return None;
        }
        let field = field & !OFFSET | offset as u16 | more;
        header[FLAGS_AT..FLAGS_AT + 2].copy_from_slice(&field.to_be_bytes());
        header[10..12].fill(0);
        let check = checksum::sum(ip).checksum();
        ip.get_mut(10..12)?.copy_from_slice(&check.to_be_bytes());
        Some(())
    }
}

/// Overwrites options that belong to the first fragment only with "no operation" (1), so that the header keeps its length.
fn blank_options(mut options: &mut [u8]) {
    while let [kind, rest @ ..] = &*options {
        let len = match (kind, rest.first()) {
            (0, _) => return,
            (1, _) => 1,
            (_, Some(len)) if *len >= 2 && usize::from(*len) <= options.len() => usize::from(*len),
            // Contradictory: nobody can tell where the next one begins.
            _ => options.len(),
        };
        let (option, after) = options.split_at_mut(len);
        if option[0] & COPIED == 0 {
            option.fill(1);
        }
        options = after;
    }
}
