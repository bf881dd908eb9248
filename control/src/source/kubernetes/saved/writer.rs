//! Writes on a thread of its own what is to be saved, once a second: nobody who follows the cluster waits for a disk.

use super::journal::{Journal, SLACK};
use super::load::Restored;
use super::{Header, Op};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Batches are this far apart.
const EVERY: Duration = Duration::from_secs(1);

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
) -> Result<(Sender<Op>, Writer), String> {
    let wrong = |err: std::io::Error| format!("the state cannot be saved in {}: {err}", path.display());
    let journal = Journal::open(path, header, restored, SLACK).map_err(wrong)?;
    let (sender, ops) = channel();
    let thread = std::thread::Builder::new()
        .name("saver".to_owned())
        .spawn(move || write(journal, &ops))
        .map_err(wrong)?;
    Ok((sender, Writer(Some(thread))))
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
