//! Decides what follows when a server does not have a kind that it need not have. It never tells that as a problem.

use super::follow::Follow;
use super::shared::Closed;
use std::time::Duration;

/// A server that gets the kind, as by an upgrade, is noticed after this long, unless the connection broke before.
const AGAIN: Duration = Duration::from_secs(600);

impl Follow {
    /// Waits until it is worth asking again. What is known stays: of several servers of different ages one may have it.
    pub(super) async fn absent(&mut self) -> Result<(), Closed> {
        self.list_again();
        let back = self.shared.reconnected.subscribe();
        self.well().await?;
        let mut back = back;
        tokio::select! {
            _ = back.changed() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
        Ok(())
    }
}
