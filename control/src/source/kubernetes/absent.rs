//! Decides what follows when the API server does not serve a kind that clusters need not have: nobody is told. It
//! never decides that of a kind which every cluster has.

use super::follow::Follow;
use super::saved::Op;
use super::shared::Closed;
use std::time::Duration;

/// After this many answers the next one is asked for once a minute.
const OFTEN: u32 = 8;
const SELDOM: Duration = Duration::from_secs(60);
/// Answers in a row that take known objects away. Policies are among them, and one answer may be a mistake on the way.
const BELIEVED: u32 = 3;

/// A server that gets the kind, as by an upgrade, is noticed after this long, unless the connection broke before.
const UPGRADED: Duration = Duration::from_secs(600);

/// What it means that a kind is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// The server is older than the kind. What is known stays: of several servers one may be newer.
    OlderServer,
    /// Nobody has defined the kind, so it has no objects.
    NoDefinition,
}

impl Follow {
    /// The kind is not served; returns when it is worth asking again.
    pub(super) async fn is_absent(&mut self, absence: Absence) -> Result<(), Closed> {
        match absence {
            Absence::OlderServer => self.wait_for_a_newer_server().await,
            Absence::NoDefinition => {
                let wait = self.has_no_objects().await?;
                tokio::time::sleep(wait).await;
                Ok(())
            }
        }
    }

    /// Waits until it is worth asking again. What is known stays: of several servers of different ages one may have it.
    async fn wait_for_a_newer_server(&mut self) -> Result<(), Closed> {
        self.list_again();
        let mut back = self.shared.reconnected.subscribe();
        self.well().await?;
        tokio::select! {
            _ = back.changed() => {}
            () = tokio::time::sleep(UPGRADED) => {}
        }
        Ok(())
    }

    /// Believes it, if it was said often enough; how long to wait before it is asked for again.
    async fn has_no_objects(&mut self) -> Result<Duration, Closed> {
        self.absent = self.absent.saturating_add(1);
        self.well().await?;
        let known = self.known.clone();
        let mut known = known.lock().await;
        let nothing = known.served().next().is_none();
        if self.absent == BELIEVED || (self.absent == 1 && nothing) {
            let by = self.want.speaker();
            known.begin(by);
            let (events, gone) = known.complete(by);
            let want = self.want;
            for name in gone {
                self.shared.save(Op::Gone { want, name });
            }
            self.version = None;
            let version = String::new();
            self.shared.save(Op::Version { want, version });
            self.shared.hand_on(want, &known, events).await?;
            self.shared.listed(want).await?;
        }
        Ok(self.pace.failed(at_least(self.absent)))
    }
}

/// How long to wait at least after so many answers.
fn at_least(answers: u32) -> Option<Duration> {
    (answers >= OFTEN).then_some(SELDOM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kubernetes::pace::Pace;

    #[test]
    fn a_kind_that_is_not_served_is_asked_for_soon_a_few_times_and_then_once_a_minute() {
        let mut pace = Pace::default();
        let waits: Vec<Duration> = (1..=OFTEN + 2).map(|n| pace.failed(at_least(n))).collect();
        let (soon, later) = waits.split_at(OFTEN as usize - 1);
        assert!(soon.iter().sum::<Duration>() <= Duration::from_secs(26), "{soon:?}");
        let a_minute = SELDOM..=SELDOM + Duration::from_secs(1);
        assert!(later.iter().all(|wait| a_minute.contains(wait)), "{later:?}");
    }
}
