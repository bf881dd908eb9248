//! Decides which echo identifiers of the node's addresses are ours: those behind which a ping is masqueraded now. All others stay
//! the kernel's, whose own pings use any. It never chooses one.

use crate::Record;
use sluice_wire::Proto;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Who sends echo replies to us.
pub trait EchoSteering: Send {
    /// Replies to this identifier (ICMP or ICMPv6) are ours from now on, or the kernel's again.
    fn own(&self, proto: Proto, id: u16, on: bool);
}

/// How many connections hold each identifier: pings of several places may share one. Steered while any does.
pub struct EchoIds(Mutex<Book>);

struct Book {
    held: [Box<[u32]>; 2],
    steering: Option<Box<dyn EchoSteering>>,
}

const FAMILIES: [Proto; 2] = [Proto::ICMP, Proto::ICMPV6];
const IDS: usize = 1 << 16;

impl Default for EchoIds {
    fn default() -> Self {
        Self(Mutex::new(Book {
            held: [(), ()].map(|()| vec![0; IDS].into_boxed_slice()),
            steering: None,
        }))
    }
}

impl EchoIds {
    /// From now on `steering` hears of changes; of what is held already it hears at once.
    pub fn steer_by(&self, steering: Box<dyn EchoSteering>) {
        let mut book = self.lock();
        for (held, proto) in book.held.iter().zip(FAMILIES) {
            for id in (0..=u16::MAX).filter(|id| held[usize::from(*id)] > 0) {
                steering.own(proto, id, true);
            }
        }
        book.steering = Some(steering);
    }

    /// The connection holds its identifier, if it is one that needs it; before it is entered, so that no answer comes too early.
    pub(crate) fn hold(&self, record: &Record) {
        if let Some((family, id)) = masqueraded_echo(record) {
            self.lock().change(family, id, |held| held.saturating_add(1));
        }
    }

    /// The connection is over, or was not entered after [`Self::hold`].
    pub(crate) fn release(&self, record: &Record) {
        if let Some((family, id)) = masqueraded_echo(record) {
            self.lock().change(family, id, |held| held.saturating_sub(1));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    // With the lock held over both, the last to go and the next to come cannot pass each other.
    fn change(&mut self, family: usize, id: u16, change: impl Fn(u32) -> u32) {
        let held = &mut self.held[family][usize::from(id)];
        let before = *held;
        *held = change(before);
        if (before == 0) != (*held == 0)
            && let Some(steering) = &self.steering
        {
            steering.own(FAMILIES[family], id, *held != 0);
        }
    }
}

/// Family and identifier of a ping that goes out under another source than its own; told by the record alone, which is all that
/// is left of a connection at its end.
fn masqueraded_echo(record: &Record) -> Option<(usize, u16)> {
    let (original, reply) = (&record.original, &record.reply);
    let family = FAMILIES.iter().position(|proto| *proto == original.proto)?;
    let masqueraded = (reply.dst, reply.dport) != (original.src, original.sport);
    // Kinds of ICMP without an identifier have 0 in its place, which is no port of ours.
    (masqueraded && reply.dport != 0).then_some((family, reply.dport))
}
