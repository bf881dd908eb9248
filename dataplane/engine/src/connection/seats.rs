//! Decides who gets a place in the table: each port may hold so many, and where no place is free, who holds most makes room. It
//! never looks at tuples, and takes no lock but its own.
//!
//! The rule, which the tests hold against a slow twin:
//!
//! 1. A port at its quota gives up its own longest expendable connection for a new one, or is refused.
//! 2. In a full table the port that holds most, at least two more than the one that asks, gives up one: its longest expendable
//!    one; an established one only for a port that is below its fair share, which is the table divided by the ports that hold any.
//! 3. Otherwise the port that asks gives up its own longest expendable connection, or is refused.
//!
//! So a port within its fair share loses nothing and is never refused because others hold much.

use super::record::RecordId;
use super::table::lock;
use crate::sync::Mutex;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use sluice_wire::Scope;

const NIL: u32 = u32::MAX;

/// Connections that are given up first, and the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Expendable,
    Established,
}

/// Answer to who asks for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// This one.
    Free(u32),
    /// The place of this connection, when it was taken out; if it is expendable, while it still is.
    Evict(RecordId, Class),
    /// The port has as many as it may.
    OverQuota,
    /// No place is free, and nobody has to make room for this port.
    Full,
}

#[derive(Clone, Copy)]
struct Node {
    prev: u32,
    next: u32,
    account: u32,
    class: Option<Class>,
}

/// Connections of one port and one class, the longest there first.
#[derive(Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

struct Account {
    owner: Scope,
    /// Places it holds, those that are not in a list yet included.
    held: u32,
    lists: [List; 2],
}

struct Book {
    free: Vec<u32>,
    nodes: Box<[Node]>,
    accounts: Vec<Account>,
    /// Accounts that nobody uses.
    spare: Vec<u32>,
    by_owner: HashMap<Scope, u32, FixedState>,
}

pub(crate) struct Seats(Mutex<Book>);

impl Seats {
    pub(super) fn new(places: u32) -> Self {
        let node = Node {
            prev: NIL,
            next: NIL,
            account: NIL,
            class: None,
        };
        Self(Mutex::new(Book {
            free: (0..places).rev().collect(),
            nodes: vec![node; places as usize].into_boxed_slice(),
            accounts: Vec::new(),
            spare: Vec::new(),
            by_owner: HashMap::default(),
        }))
    }

    /// A place for `owner`, which may hold `quota`. A free one is counted for it at once. `id` names the connection in a place that
    /// holds one: asked under the lock, because a place that is in a list cannot be taken anew meanwhile.
    pub(super) fn ask(&self, owner: Scope, quota: u32, id: impl Fn(u32) -> Option<RecordId>) -> Asked {
        let mut book = lock(&self.0);
        let evict = |book: &Book, account, class| {
            let id = book.first(account, class).and_then(&id);
            id.map(|id| Asked::Evict(id, class))
        };
        let mine = book.by_owner.get(&owner).copied();
        let held = mine.map_or(0, |at| book.accounts[at as usize].held);
        let own = |book: &Book| mine.and_then(|at| evict(book, at, Class::Expendable));
        if held >= quota {
            return own(&book).unwrap_or(Asked::OverQuota);
        }
        if let Some(index) = book.free.pop() {
            book.seat(index, owner);
            return Asked::Free(index);
        }
        let ports = book.by_owner.len() + usize::from(mine.is_none());
        let below_share = (held as usize) < book.nodes.len() / ports;
        let richest = book.richest().filter(|at| book.accounts[*at as usize].held >= held + 2);
        let theirs = richest.and_then(|at| {
            let established = || evict(&book, at, Class::Established).filter(|_| below_share);
            evict(&book, at, Class::Expendable).or_else(established)
        });
        theirs.or_else(|| own(&book)).unwrap_or(Asked::Full)
    }

    /// A connection is in the place now.
    pub(super) fn enter(&self, index: u32, class: Class) {
        lock(&self.0).link(index, class);
    }

    /// The connection in the place has another class now, as `class` tells under the lock; `None` when it is gone.
    pub(super) fn reclass(&self, index: u32, class: impl FnOnce() -> Option<Class>) {
        let mut book = lock(&self.0);
        let Some(class) = class() else { return };
        let before = book.nodes[index as usize].class;
        if before.is_some_and(|before| before != class) {
            book.unlink(index);
            book.link(index, class);
        }
    }

    /// The place is free again: its connection is over, or never came.
    pub(super) fn leave(&self, index: u32) {
        let mut book = lock(&self.0);
        book.unseat(index);
        book.free.push(index);
    }

    /// The place goes to `owner` without being free in between.
    pub(super) fn pass_on(&self, index: u32, owner: Scope) {
        let mut book = lock(&self.0);
        book.unseat(index);
        book.seat(index, owner);
    }

    /// Places that `owner` holds.
    pub(super) fn held(&self, owner: Scope) -> u32 {
        let book = lock(&self.0);
        let at = book.by_owner.get(&owner);
        at.map_or(0, |at| book.accounts[*at as usize].held)
    }
}

impl Book {
    fn seat(&mut self, index: u32, owner: Scope) {
        let at = match self.by_owner.get(&owner) {
            Some(at) => *at,
            None => self.open(owner),
        };
        self.accounts[at as usize].held += 1;
        self.nodes[index as usize].account = at;
    }

    fn open(&mut self, owner: Scope) -> u32 {
        let empty = List { first: NIL, last: NIL };
        let account = Account {
            owner,
            held: 0,
            lists: [empty; 2],
        };
        let at = match self.spare.pop() {
            Some(at) => {
                self.accounts[at as usize] = account;
                at
            }
            None => {
                self.accounts.push(account);
                self.accounts.len() as u32 - 1
            }
        };
        self.by_owner.insert(owner, at);
        at
    }

    fn unseat(&mut self, index: u32) {
        self.unlink(index);
        let at = core::mem::replace(&mut self.nodes[index as usize].account, NIL);
        let Some(account) = self.accounts.get_mut(at as usize) else {
            return;
        };
        account.held -= 1;
        if account.held == 0 {
            let owner = account.owner;
            self.by_owner.remove(&owner);
            self.spare.push(at);
        }
    }

    fn first(&self, account: u32, class: Class) -> Option<u32> {
        let first = self.accounts[account as usize].lists[class as usize].first;
        (first != NIL).then_some(first)
    }

    /// Looks at each port once: as many as there are ports and peers, however many connections they have.
    fn richest(&self) -> Option<u32> {
        let account = |at: &u32| &self.accounts[*at as usize];
        self.by_owner
            .values()
            .copied()
            .max_by_key(|at| (account(at).held, account(at).owner))
    }

    fn link(&mut self, index: u32, class: Class) {
        let account = self.nodes[index as usize].account;
        let list = &mut self.accounts[account as usize].lists[class as usize];
        let last = core::mem::replace(&mut list.last, index);
        match self.nodes.get_mut(last as usize) {
            Some(before) => before.next = index,
            None => list.first = index,
        }
        let node = &mut self.nodes[index as usize];
        (node.prev, node.next, node.class) = (last, NIL, Some(class));
    }

    fn unlink(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        let Some(class) = node.class.take() else { return };
        let (prev, next, account) = (node.prev, node.next, node.account);
        let list = &mut self.accounts[account as usize].lists[class as usize];
        if prev == NIL {
            list.first = next;
        }
        if next == NIL {
            list.last = prev;
        }
        if let Some(before) = self.nodes.get_mut(prev as usize) {
            before.next = next;
        }
        if let Some(after) = self.nodes.get_mut(next as usize) {
            after.prev = prev;
        }
    }
}
