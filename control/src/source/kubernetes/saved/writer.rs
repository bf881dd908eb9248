//! Writes on a thread of its own what is to be saved, once a second: nobody who follows the cluster waits for a disk.

use super::journal::{Journal, SLACK};
use super::load::Restored;
use super::{Header, Op};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Batches are this far apart.
const EVERY: Duration = Duration::from_secs(1);

/// Objects that wait to be written: a first list's are ten times as large as what is written of them.
const QUEUE: usize = 8192;
/// How long a disk that takes nothing holds anybody up, once.
const PATIENCE: Duration = Duration::from_secs(1);

/// Hands on what is to be saved.
#[derive(Debug)]
pub(in crate::source::kubernetes) struct Saver {
    sender: Sender<Op>,
    patience: Duration,
    /// Something was not handed on. What is written from before is true of its time; what came after would leave that out.
    given_up: AtomicBool,
}

impl Saver {
    /// Has it saved with all before it; nothing any more once the disk has not taken something in time.
    pub(in crate::source::kubernetes) fn save(&self, op: Op) {
        // Without a receiver the thread has ended, as after this.
        if self.given_up.load(Ordering::Relaxed) || self.sender.send_timeout(op, self.patience).is_ok() {
            return;
        }
        if !self.given_up.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "what is known of the cluster cannot be saved as fast as it changes; what was saved so far stays, and is what the next start begins with"
            );
        }
    }
}

/// The thread. Dropping it waits until all is written that was sent.
pub(in crate::source::kubernetes) struct Writer(Option<JoinHandle<()>>);

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join();
        }
    }
}

/// Starts to write behind what was restored. It ends when all senders are gone.
///
/// # Errors
/// The file cannot be opened; for a person.
pub(in crate::source::kubernetes) fn start(
    path: &Path,
    header: &Header,
    restored: Option<&Restored>,
) -> Result<(Saver, Writer), String> {
    let wrong = |err: std::io::Error| format!("the state cannot be saved in {}: {err}", path.display());
    let journal = Journal::open(path, header, restored, SLACK).map_err(wrong)?;
    let (sender, ops) = bounded(QUEUE);
    let thread = std::thread::Builder::new()
        .name("saver".to_owned())
        .spawn(move || write(journal, &ops))
        .map_err(wrong)?;
    let saver = Saver {
        sender,
        patience: PATIENCE,
        given_up: AtomicBool::new(false),
    };
    Ok((saver, Writer(Some(thread))))
}

fn write(mut journal: Journal, ops: &Receiver<Op>) {
    let mut due = Instant::now() + EVERY;
    let mut told = false;
    loop {
        let op = ops.recv_timeout(due.saturating_duration_since(Instant::now()));
        let ends = match op {
            Ok(Op::Move { path }) => {
                if let Err(err) = journal.move_to(&path) {
                    tracing::warn!(
                        "what is known of the cluster cannot be saved as {}: {err}",
                        path.display()
                    );
                }
                false
            }
            Ok(op) => {
                journal.take(op);
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        if !ends && Instant::now() < due {
            continue;
        }
        due = Instant::now() + EVERY;
        if journal.changed() {
            match journal.flush() {
                Ok(()) if std::mem::take(&mut told) => tracing::info!("what is known of the cluster is saved again"),
                Ok(()) => {}
                Err(err) if !std::mem::replace(&mut told, true) => {
                    tracing::warn!("what is known of the cluster cannot be saved, and is tried again: {err}");
                }
                Err(_) => {}
            }
        }
        if ends {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kubernetes::wants::Want;

    #[test]
    fn behind_something_that_was_not_handed_on_nothing_is() {
        let (sender, ops) = bounded(2);
        let saver = Saver {
            sender,
            patience: Duration::from_millis(1),
            given_up: AtomicBool::new(false),
        };
        let op = |version: u32| Op::Version {
            want: Want::Services,
            version: version.to_string(),
        };
        for version in 1..=3 {
            saver.save(op(version));
        }
        let taken = |ops: &Receiver<Op>| match ops.try_recv() {
            Ok(Op::Version { version, .. }) => version,
            other => panic!("{other:?}"),
        };
        assert_eq!((taken(&ops), taken(&ops)), ("1".into(), "2".into()));
        saver.save(op(4));
        assert!(ops.is_empty(), "the third one would be missing");
    }
}
