//! Takes labs down when their process is told to end, or panics where that means its end. It never handles a signal while the process owns no lab.

use crate::run::locked;
use crate::state::Record;
use anyhow::Result;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::{Arc, Mutex, Once, Weak};

static LABS: Mutex<Vec<Weak<Mutex<Record>>>> = Mutex::new(Vec::new());
static LISTEN: Once = Once::new();

/// Does what `claim` says; if it succeeds, the lab of `record` goes when this process gets SIGINT, SIGTERM or SIGHUP. A
/// signal that arrives meanwhile waits for the outcome.
pub(crate) fn guard(record: &Arc<Mutex<Record>>, claim: impl FnOnce() -> Result<()>) -> Result<()> {
    LISTEN.call_once(|| {
        if cfg!(panic = "abort") {
            let report = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                report(panic);
                abandon();
            }));
        }
        if let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) {
            std::thread::spawn(move || {
                for signal in signals.forever() {
                    end(signal);
                }
            });
        }
    });
    let mut labs = locked(&LABS);
    claim()?;
    labs.retain(|lab| lab.strong_count() > 0);
    labs.push(Arc::downgrade(record));
    Ok(())
}

fn end(signal: i32) {
    let guarded = locked(&LABS);
    let labs: Vec<_> = guarded.iter().filter_map(Weak::upgrade).collect();
    if labs.iter().any(|lab| !locked(lab).kept) {
        eprintln!("interrupted; taking the lab down");
    }
    // Each record stays locked until the process is gone, so that nobody builds on while it is taken down.
    let held: Vec<_> = labs.iter().map(|lab| locked(lab)).collect();
    for record in held.iter().filter(|record| !record.kept) {
        if let Err(error) = record.take_down() {
            eprintln!("{error:#}");
        }
    }
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

/// Where a panic ends the process at once, nothing is dropped: labs go from here. One whose record is being changed at
/// that moment is left to the next lab.
fn abandon() {
    let Ok(labs) = LABS.try_lock() else { return };
    for lab in labs.iter().filter_map(Weak::upgrade) {
        if let Ok(record) = lab.try_lock().as_deref()
            && !record.kept
        {
            let _ = record.take_down();
        }
    }
}
