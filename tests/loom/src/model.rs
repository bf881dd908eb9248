//! Tuples, records and threads for the models.

pub(crate) use crate::connection::{ConnectionTable, Direction, Inserted, Record, RecordId};
use loom::sync::Arc;
use sluice_lb::{ConnState, EndpointSlot, Timeouts};
use sluice_wire::{Addr, Generation, Proto, Scope, Tuple};

pub(crate) fn tuple(client: u16, server: u16) -> Tuple {
    let addr = |n: u16| Addr::v4([10, 0, 0, n as u8]);
    Tuple {
        src: addr(client),
        dst: addr(server),
        sport: client,
        dport: server,
        proto: Proto::TCP,
    }
}

pub(crate) fn record(original: Tuple, reply: Tuple) -> Record {
    Record {
        original,
        reply,
        service: None,
        endpoint: Some(EndpointSlot(reply.sport.into())),
        decided_in: Generation(1),
        owner: Scope::port(1),
    }
}

pub(crate) fn insert(table: &ConnectionTable, record: &Record) -> Inserted {
    table.insert(record, ConnState::SynSent, 0, u32::MAX, |evicted| {
        panic!("{evicted:?} made room")
    })
}

pub(crate) fn won(inserted: &Inserted) -> Option<RecordId> {
    match inserted {
        Inserted::Won(id) => Some(*id),
        _ => None,
    }
}

/// Every interleaving. More than a few, or the model shows nothing.
pub(crate) fn check(capacity: u32, model: impl Fn(&Arc<ConnectionTable>) + Send + Sync + 'static) {
    const FEWEST: usize = 5;
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = runs.clone();
    loom::model::Builder::new().check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let table = ConnectionTable::new(capacity, Timeouts::default());
        model(&Arc::new(table.expect("memory of this process")));
    });
    let runs = runs.load(std::sync::atomic::Ordering::Relaxed);
    println!("{runs} interleavings");
    assert!(runs >= FEWEST, "only {runs} interleavings");
}

pub(crate) fn spawn<T: 'static>(
    table: &Arc<ConnectionTable>,
    work: impl FnOnce(&ConnectionTable) -> T + 'static,
) -> loom::thread::JoinHandle<T> {
    let table = table.clone();
    loom::thread::spawn(move || work(&table))
}
