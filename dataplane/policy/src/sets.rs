//! Decides which identities a pod peer stands for, and remembers the answer from one compilation to the next: a new
//! identity costs one test per remembered peer. It never forgets a peer that was asked for lately.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::content::Content;
use crate::identity::{Identities, Table};
use crate::selector::Selector;

/// A peer that no compilation asked for in this many passes is forgotten.
const KEEP_PASSES: u64 = 64;

/// A peer given by labels, with the policy's namespace where that matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PodPeer {
    namespaces: Namespaces,
    pods: Option<Selector>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Namespaces {
    Own(String),
    Selected(Selector),
}

impl PodPeer {
    /// `None` for the peer that gives neither selector, which matches nothing.
    pub(crate) fn new(own: &str, namespaces: Option<&Selector>, pods: Option<&Selector>) -> Option<Self> {
        let namespaces = match (namespaces, pods) {
            (None, None) => return None,
            (None, Some(_)) => Namespaces::Own(own.to_owned()),
            (Some(selector), _) => Namespaces::Selected(selector.clone()),
        };
        Some(Self {
            namespaces,
            pods: pods.cloned(),
        })
    }

    fn selects(&self, content: &Content) -> bool {
        let namespace = match &self.namespaces {
            Namespaces::Own(name) => *name == content.namespace,
            Namespaces::Selected(selector) => content
                .namespace_record
                .as_ref()
                .is_some_and(|namespace| selector.matches(&namespace.labels)),
        };
        namespace
            && self
                .pods
                .as_ref()
                .is_none_or(|selector| selector.matches(&content.labels))
    }
}

/// A set of identities, one bit each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct IdentitySet(Vec<u64>);

impl IdentitySet {
    fn put(&mut self, id: usize, member: bool) {
        if member && id / 64 >= self.0.len() {
            self.0.resize(id / 64 + 1, 0);
        }
        if let Some(word) = self.0.get_mut(id / 64) {
            *word = *word & !(1 << (id % 64)) | u64::from(member) << (id % 64);
        }
    }

    /// The members, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, &word)| {
            let rest = std::iter::successors(Some(word), |w| Some(w & w.wrapping_sub(1)));
            rest.take_while(|&w| w != 0)
                .map(move |w| at * 64 + w.trailing_zeros() as usize)
        })
    }
}

/// The identities behind every peer asked for lately.
#[derive(Debug, Default)]
pub(crate) struct PeerSets {
    /// During a pass.
    table: Arc<Table>,
    /// The last assignment that the sets know of.
    seen: u64,
    known: HashMap<PodPeer, Known>,
    pass: u64,
}

#[derive(Debug)]
struct Known {
    set: IdentitySet,
    asked_in: u64,
}

impl PeerSets {
    /// Brings everything remembered in step with `identities`. Any table will do, also one that did not grow from the last.
    pub(crate) fn begin_pass(&mut self, identities: &Identities) {
        self.pass += 1;
        let oldest = self.pass.saturating_sub(KEEP_PASSES);
        self.known.retain(|_, known| known.asked_in >= oldest);
        self.table = Arc::clone(identities.table());
        let seen = std::mem::replace(&mut self.seen, self.table.latest());
        match self.table.assigned_since(seen) {
            Some(ids) => {
                for id in ids {
                    let content = &self.table.contents[id as usize];
                    for (peer, known) in &mut self.known {
                        known.set.put(id as usize, peer.selects(content));
                    }
                }
            }
            None => self.known.clear(),
        }
    }

    /// Lets go of the identities, so that the next ones need no copy of them.
    pub(crate) fn end_pass(&mut self) {
        self.table = Arc::default();
    }

    /// The contents behind the numbers in the sets.
    pub(crate) fn contents(&self) -> &[Arc<Content>] {
        &self.table.contents
    }

    /// The identities that `peer` stands for.
    pub(crate) fn get(&mut self, peer: PodPeer) -> &IdentitySet {
        let (contents, pass) = (&self.table.contents, self.pass);
        let known = self.known.entry(peer).or_insert_with_key(|peer| {
            let mut set = IdentitySet::default();
            for (id, _) in contents.iter().enumerate().filter(|(_, content)| peer.selects(content)) {
                set.put(id, true);
            }
            Known { set, asked_in: pass }
        });
        known.asked_in = pass;
        &known.set
    }
}
