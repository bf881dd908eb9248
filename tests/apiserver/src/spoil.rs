//! Decides what becomes of the lines of a stream on their way out: as they are, or spoilt as the faults have it. It never knows what they
//! say.

use crate::faults::{Fault, Faults};
use crate::status::Status;
use bytes::Bytes;
use serde_json::json;
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;

/// A line that is neither JSON nor UTF-8.
const GARBAGE: &[u8] = b"\x16\x03{\"type\":\"ADD}}]\xff\n";

/// Within this time half a line is on its way.
const TO_LEAVE: Duration = Duration::from_millis(20);

/// The stream was cut, or its reader is gone.
pub(crate) struct Over;

/// The way out of a stream.
pub(crate) struct Spoiler {
    /// Parts of a chunked body; an error cuts the connection.
    sender: mpsc::Sender<io::Result<Bytes>>,
    /// A line that waits for one of another object, and the key of its own.
    held: Option<(Bytes, String)>,
}

impl Spoiler {
    pub(crate) fn new(sender: mpsc::Sender<io::Result<Bytes>>) -> Self {
        Self { sender, held: None }
    }

    /// Whether a line waits.
    pub(crate) fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Returns once nobody reads any more.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Sends an event about the object under `key`, unless a fault has it that something else comes of it.
    pub(crate) async fn pass(&mut self, faults: &Faults, plural: &str, line: Bytes, key: &str) -> Result<(), Over> {
        faults.stalled(plural, "watch").await;
        match faults.on_event(plural) {
            Some(Fault::Cut) => {
                self.emit(line.slice(..line.len() / 2)).await?;
                // What waits in a buffer when a connection ends never leaves.
                tokio::time::sleep(TO_LEAVE).await;
                return self.cut().await;
            }
            Some(Fault::Garbage) => self.emit(Bytes::from_static(GARBAGE)).await?,
            Some(Fault::Duplicate) => self.emit(line.clone()).await?,
            Some(Fault::Expired) => {
                let event = json!({"type": "ERROR", "object": Status::plain(410, None).json()});
                self.emit(format!("{event}\n").into()).await?;
                return Err(Over);
            }
            Some(Fault::Reorder) if self.held.is_none() => {
                self.held = Some((line, key.to_owned()));
                return Ok(());
            }
            _ => {}
        }
        if self.held.as_ref().is_some_and(|(_, held)| held == key) {
            self.flush().await?;
        }
        self.emit(line).await?;
        self.flush().await
    }

    /// Sends what only a stall concerns.
    pub(crate) async fn mark(&mut self, faults: &Faults, plural: &str, line: Bytes) -> Result<(), Over> {
        faults.stalled(plural, "watch").await;
        self.flush().await?;
        self.emit(line).await
    }

    /// Sends what waits.
    pub(crate) async fn flush(&mut self) -> Result<(), Over> {
        match self.held.take() {
            Some((line, _)) => self.emit(line).await,
            None => Ok(()),
        }
    }

    /// Ends the stream, and its connection, without an end.
    pub(crate) async fn cut(&self) -> Result<(), Over> {
        let _ = self.sender.send(Err(io::Error::other("cut"))).await;
        Err(Over)
    }

    /// Sends whatever it is.
    pub(crate) async fn emit(&self, bytes: Bytes) -> Result<(), Over> {
        self.sender.send(Ok(bytes)).await.map_err(|_| Over)
    }
}
