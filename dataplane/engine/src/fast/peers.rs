//! Remembers which outer addresses are tunnels to this node, and whose. A few of them, in a place that their hash gives; what is not
//! there is asked of the snapshot, and nothing outlives that.

use super::sight::MacWord;
use crate::engine::Context;
use sluice_wire::{FlowWords, Generation, MacAddr, Plain, Scope};

const PLACES: usize = 256;

#[derive(Clone, Copy)]
struct Known {
    /// Addresses of the outer packet.
    outer: FlowWords,
    scope: Scope,
    /// MAC that inner frames are for.
    mac: MacWord,
    generation: Generation,
}

/// What was asked lately.
pub(crate) struct Peers(Box<[Known; PLACES]>);

impl Default for Peers {
    fn default() -> Self {
        let nobody = Known {
            outer: FlowWords::NONE,
            scope: Scope::of(0),
            mac: MacWord::of(MacAddr([0; 6])),
            generation: Generation(0),
        };
        Self(Box::new([nobody; PLACES]))
    }
}

impl Peers {
    /// The scope of the tunnel that the packet `outer` comes out of, if it is one of this node's, and the MAC that inner frames are for.
    #[inline(always)]
    pub(super) fn tunnel(&mut self, cx: Context<'_>, outer: &Plain) -> Option<(Scope, MacWord)> {
        let words = FlowWords {
            ports: 0,
            scope: Scope::of(0),
            ..outer.words
        };
        if !words.is_udp() || outer.words.dport() != cx.snapshot.parts.node.tunnel_port {
            return None;
        }
        let place = place_of(&words);
        let known = &self.0[place];
        if known.generation == cx.snapshot.generation && known.outer == words {
            return Some((known.scope, known.mac));
        }
        self.ask(cx, words, place)
    }

    #[cold]
    fn ask(&mut self, cx: Context<'_>, outer: FlowWords, place: usize) -> Option<(Scope, MacWord)> {
        let parts = &cx.snapshot.parts;
        let tuple = outer.key().tuple;
        let (_, peer) = parts.forwarding.tunnel_source(tuple.src)?;
        if !parts.node.addresses.contains(&tuple.dst) {
            return None;
        }
        let mac = match outer.is_v6() {
            true => parts.node.vtep_mac_v6,
            false => parts.node.vtep_mac_v4,
        };
        let mac = MacWord::of(mac);
        self.0[place] = Known {
            outer,
            scope: peer.scope,
            mac,
            generation: cx.snapshot.generation,
        };
        Some((peer.scope, mac))
    }
}

/// By the last two bytes of the source, in which peers differ most.
#[inline(always)]
fn place_of(words: &FlowWords) -> usize {
    let [a, b] = if words.is_v6() {
        let [.., a, b] = words.ends[1].to_ne_bytes();
        [a, b]
    } else {
        let [_, _, a, b, ..] = words.ends[0].to_ne_bytes();
        [a, b]
    };
    usize::from(a ^ b) % PLACES
}
