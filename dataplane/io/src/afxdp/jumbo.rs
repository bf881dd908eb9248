//! Decides how frames longer than a chunk cross a socket: as several descriptors on its rings (Linux 6.6), as one large
//! buffer in our hands. They are copied, which is counted; the packet path never sees a piece.

use sluice_mem::{Buf, HEADROOM, Memory, Pools};

/// Most pieces of a frame: what the kernel puts into one socket buffer (`MAX_SKB_FRAGS` is 17).
pub(super) const MOST: usize = 16;

/// Bytes of a frame that fit into a chunk.
pub(super) fn piece(memory: &Memory) -> usize {
    memory.chunk_size() - HEADROOM
}

/// A frame that arrives piece by piece.
#[derive(Default)]
pub(super) struct Gather {
    buf: Option<Buf>,
    open: bool,
    broken: bool,
}

/// What a piece made of the frame.
pub(super) enum Gathered {
    /// More pieces are to come.
    Part,
    /// It is complete.
    Whole(Buf),
    /// That was its end, and a piece of it is missing or had no room.
    Lost,
}

impl Gather {
    /// Whether the next piece belongs to a frame that began earlier.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Takes the next piece, `None` where it was unusable. Counts in `no_memory` when no large buffer is free.
    pub(super) fn add(&mut self, piece: Option<&Buf>, last: bool, pools: &mut Pools, no_memory: &mut u64) -> Gathered {
        if !self.open {
            self.open = true;
            self.broken = false;
            self.buf = pools.large.alloc();
            *no_memory += u64::from(self.buf.is_none());
        }
        let copied = match (&mut self.buf, piece) {
            (Some(buf), Some(piece)) => buf.extend(piece.len()).map(|to| to.copy_from_slice(piece.bytes())),
            _ => None,
        };
        self.broken |= copied.is_none();
        if !last {
            return Gathered::Part;
        }
        self.open = false;
        match self.buf.take() {
            Some(buf) if !self.broken => Gathered::Whole(buf),
            rest => {
                rest.into_iter().for_each(|buf| pools.free(buf));
                Gathered::Lost
            }
        }
    }

    /// Gives back what was gathered of a frame whose end will not come.
    pub(super) fn close(self, pools: &mut Pools) {
        self.buf.into_iter().for_each(|buf| pools.free(buf));
    }
}

/// The bytes of a frame in chunks of the ordinary pool, in order; `None`, and nothing taken, when it has too few.
pub(super) fn cut(frame: &Buf, piece: usize, pools: &mut Pools) -> Option<Buf> {
    let mut head: Option<Buf> = None;
    let mut last: Option<Buf> = None;
    let mut segment = Some(frame);
    let mut give_up = false;
    while let Some(buf) = segment {
        let mut bytes = buf.bytes();
        while !bytes.is_empty() && !give_up {
            let filled = last.as_ref().map_or(piece, Buf::len);
            if filled == piece {
                chain(&mut head, last.take());
                last = pools.small.alloc();
                give_up = last.is_none();
                continue;
            }
            let (front, rest) = bytes.split_at(bytes.len().min(piece - filled));
            let room = last.as_mut().and_then(|last| last.extend(front.len()));
            give_up = room.map(|room| room.copy_from_slice(front)).is_none();
            bytes = rest;
        }
        segment = buf.next();
    }
    chain(&mut head, last);
    if give_up {
        head.into_iter().for_each(|buf| pools.free(buf));
        return None;
    }
    head
}

fn chain(head: &mut Option<Buf>, tail: Option<Buf>) {
    match (head, tail) {
        (Some(head), Some(tail)) => head.append(tail),
        (head @ None, tail) => *head = tail,
        (Some(_), None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sluice_mem::LARGE_CHUNK;

    const PIECE: usize = 2048 - HEADROOM;

    fn pools(small: usize) -> (Memory, Memory, Pools) {
        let (small, large) = (Memory::new(2048, small).unwrap(), Memory::new(LARGE_CHUNK, 2).unwrap());
        let pools = Pools::new(&small, &large);
        (small, large, pools)
    }

    proptest! {
        #[test]
        fn what_is_cut_and_gathered_is_the_frame(len in 1usize..9100, chunks in 1usize..8) {
            let (small, large, mut pools) = pools(chunks);
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
            let mut frame = pools.large.alloc().unwrap();
            frame.extend(len).unwrap().copy_from_slice(&bytes);
            let cut = cut(&frame, PIECE, &mut pools);
            prop_assert_eq!(cut.is_some(), len.div_ceil(PIECE) <= chunks);
            let (mut gather, mut lost) = (Gather::default(), 0);
            let mut rest = cut;
            let mut whole = None;
            while let Some(mut piece) = rest {
                rest = piece.take_next();
                prop_assert!(piece.len() == PIECE || rest.is_none());
                match gather.add(Some(&piece), rest.is_none(), &mut pools, &mut lost) {
                    Gathered::Part => prop_assert!(rest.is_some() && gather.is_open()),
                    Gathered::Whole(buf) => whole = Some(buf),
                    Gathered::Lost => prop_assert!(false, "nothing was missing"),
                }
                pools.free(piece);
            }
            if let Some(whole) = whole {
                prop_assert_eq!(whole.bytes(), &bytes[..]);
                pools.free(whole);
            }
            pools.free(frame);
            drop(pools);
            prop_assert_eq!((small.home(), large.home(), lost), (small.count(), large.count(), 0));
        }
    }

    #[test]
    fn a_frame_with_a_piece_missing_or_without_memory_is_lost_as_one() {
        let (small, large, mut pools) = pools(2);
        let mut piece = pools.small.alloc().unwrap();
        piece.extend(100).unwrap();
        let (mut gather, mut no_memory) = (Gather::default(), 0);
        let mut ends = |pools: &mut Pools, middle: Option<&Buf>| {
            assert!(matches!(
                gather.add(Some(&piece), false, pools, &mut no_memory),
                Gathered::Part
            ));
            assert!(matches!(
                gather.add(middle, false, pools, &mut no_memory),
                Gathered::Part
            ));
            matches!(
                gather.add(Some(&piece), true, pools, &mut no_memory),
                Gathered::Whole(_)
            )
        };
        assert!(!ends(&mut pools, None));
        let held: Vec<Buf> = (0..2).map(|_| pools.large.alloc().unwrap()).collect();
        assert!(!ends(&mut pools, None));
        held.into_iter().for_each(|buf| pools.free(buf));
        assert!(!gather.is_open());
        assert_eq!(no_memory, 1);
        pools.free(piece);
        drop(pools);
        assert_eq!((small.home(), large.home()), (2, 2));
    }
}
