//! Decides when objects of one request are listed and when their changes are followed, and what is told when that fails. It never
//! decides what follows from an object.

use super::answer::{self, Failure, Said, Stream};
use super::known::{Keep, Known, name};
use super::pace::Pace;
use super::saved::Op;
use super::shared::{Closed, Shared};
use super::wants::Want;
use crate::source::{Event, Problem};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// A server ends a stream after this many seconds, by chance up to twice as many, so that not all streams end together.
const STREAM_SECONDS: u32 = 240;
/// A stream that ends sooner than this is not asked for again at once.
const TOO_SHORT: Duration = Duration::from_secs(1);
/// One that lasted as long as this was well; what follows is a new failure.
const LONG: Duration = Duration::from_secs(10);

/// Follows the objects of one request, for ever.
pub(super) struct Follow {
    pub(super) want: Want,
    pub(super) known: Arc<Mutex<Known>>,
    pub(super) shared: Arc<Shared>,
    /// Up to where changes were said.
    pub(super) version: Option<String>,
    pub(super) pace: Pace,
    /// What is told to be wrong.
    told: Option<String>,
    /// Since when a stream is followed.
    followed: Option<Instant>,
    /// Streams one after the other on which nothing was ever said.
    silent: u32,
    /// Answers one after the other that the kind is not served.
    pub(super) absent: u32,
}

/// Why it does not go on.
pub(super) enum End {
    Failure(Failure),
    Closed,
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl Follow {
    /// From what is saved up to `version`, if anything is.
    pub(super) fn new(want: Want, known: Arc<Mutex<Known>>, shared: Arc<Shared>, version: Option<String>) -> Self {
        Self {
            want,
            known,
            shared,
            version,
            pace: Pace::default(),
            told: None,
            followed: None,
            silent: 0,
            absent: 0,
        }
    }

    /// Until nobody listens any more.
    pub(super) async fn run(mut self) {
        loop {
            let way = self.shared.reach.way();
            let ended = self.turn(&way.client).await;
            let followed = self.followed.take().map_or(Duration::ZERO, |since| since.elapsed());
            if followed > LONG {
                self.pace.reset();
            }
            let failure = match ended {
                Ok(()) if followed > TOO_SHORT => continue,
                Ok(()) => {
                    tokio::time::sleep(self.pace.failed(None)).await;
                    continue;
                }
                Err(End::Closed) => return,
                Err(End::Failure(failure)) => failure,
            };
            if failure == Failure::NotServed
                && let Some(absence) = self.want.absence()
            {
                match self.is_absent(absence).await {
                    Ok(()) => continue,
                    Err(Closed) => return,
                }
            }
            self.absent = 0;
            let after = match &failure {
                Failure::Other { after, unreachable, .. } => {
                    if *unreachable {
                        self.shared.reach.failed(&way.url);
                    }
                    *after
                }
                // What is known from here on is not known any more, or makes no sense.
                Failure::Gone | Failure::Garbage(_) => {
                    self.list_again();
                    None
                }
                // Once is a connection. A server that knows no such version yet says nothing, either.
                Failure::Silent => {
                    self.silent += 1;
                    if self.silent > 1 {
                        self.list_again();
                    }
                    None
                }
                _ => None,
            };
            if self.tell(&way.url, failure).await.is_err() {
                return;
            }
            tokio::time::sleep(self.pace.failed(after)).await;
        }
    }

    pub(super) fn list_again(&mut self) {
        self.version = None;
        let want = self.want;
        self.shared.save(Op::List { want });
    }

    /// Until the server ends the stream or something fails.
    async fn turn(&mut self, client: &kube::Client) -> Result<(), End> {
        let listed = match self.version {
            None => self.list(client).await?,
            Some(_) => None,
        };
        let mut stream = match listed {
            Some(stream) => stream,
            None => self.ask(client, self.version.as_deref()).await?,
        };
        self.followed = Some(Instant::now());
        self.absent = 0;
        self.well().await?;
        while let Some(said) = stream.next().await? {
            self.silent = 0;
            self.well().await?;
            match said {
                Said::Bookmark(version, _) => self.bookmark(version)?,
                Said::Is(object) => {
                    let version = answer::version(&object).map(str::to_owned);
                    self.is(object).await?;
                    self.reached(version);
                }
                Said::Gone(object) => {
                    self.gone(&object).await?;
                    self.reached(answer::version(&object).map(str::to_owned));
                }
            }
        }
        Ok(())
    }

    pub(super) async fn ask(&self, client: &kube::Client, version: Option<&str>) -> Result<Stream, Failure> {
        let seconds = STREAM_SECONDS + fastrand::u32(0..STREAM_SECONDS);
        let asked = self.want.watch(&self.shared.node, version, seconds);
        let asked = asked.map_err(|err| Failure::NotUnderstood(err.to_string()))?;
        answer::stream(client, asked, self.shared.silence).await
    }

    pub(super) async fn is(&self, mut object: Value) -> Result<(), End> {
        let mut known = self.known.lock().await;
        let Some(heard) = known.is(self.want.speaker(), &mut object) else {
            return Err(Failure::Garbage("an object without a name".into()).into());
        };
        self.keep(heard.keep, object);
        Ok(self.shared.hand_on(self.want, &known, heard.events).await?)
    }

    pub(super) async fn gone(&self, object: &Value) -> Result<(), End> {
        let mut known = self.known.lock().await;
        let heard = known.gone(self.want.speaker(), object);
        if heard.keep.is_some() {
            self.keep(heard.keep, object.clone());
        }
        Ok(self.shared.hand_on(self.want, &known, heard.events).await?)
    }

    fn keep(&self, keep: Option<Keep>, object: Value) {
        let want = self.want;
        match keep {
            Some(Keep::Object { whole }) => self.shared.save(Op::Is { want, object, whole }),
            Some(Keep::Nothing) => self.shared.save(Op::Gone {
                want,
                name: name(&object),
            }),
            None => {}
        }
    }

    /// All up to this version has been said.
    pub(super) fn reached(&mut self, version: Option<String>) {
        if let Some(version) = version {
            let want = self.want;
            self.shared.save(Op::Version {
                want,
                version: version.clone(),
            });
            self.version = Some(version);
        }
    }

    /// A server that is restored from an older copy goes back; changes that it makes then would never be said.
    fn bookmark(&mut self, version: String) -> Result<(), Failure> {
        let number = |version: &str| version.parse::<u64>().ok();
        let before = self.version.as_deref().and_then(number);
        if number(&version).zip(before).is_some_and(|(now, before)| now < before) {
            return Err(Failure::Gone);
        }
        self.reached(Some(version));
        Ok(())
    }

    pub(super) async fn well(&mut self) -> Result<(), Closed> {
        self.solved().await?;
        self.shared.heard(self.want).await
    }

    async fn solved(&mut self) -> Result<(), Closed> {
        if self.told.take().is_none() {
            return Ok(());
        }
        let origin = self.want.origin();
        self.shared.send(Event::Solved { origin }).await
    }

    async fn tell(&mut self, url: &str, failure: Failure) -> Result<(), Closed> {
        let (group, plural) = self.want.resource();
        let stays = "what is known stays in force, and it is asked for again";
        let text = match failure {
            Failure::Gone => {
                tracing::info!(
                    "{}: the version is not known any more; all are listed again",
                    self.want.name()
                );
                return Ok(());
            }
            // Connections end; it is worth a word when new ones do, too.
            Failure::Broken(text) if self.pace.failures() < 2 => {
                tracing::debug!("{}: the connection broke ({text})", self.want.name());
                return Ok(());
            }
            Failure::Broken(text) => format!("connections break again and again ({text}); {stays}"),
            Failure::Other {
                text,
                unreachable: true,
                ..
            } => return self.shared.unreachable(url, &text).await,
            Failure::Silent => format!("nothing was heard for so long that the connection must be dead; {stays}"),
            Failure::Forbidden(text) => format!(
                "{text}; {stays}. Grant it with a ClusterRole's rule {{apiGroups: [\"{group}\"], resources: [{plural}], verbs: [list, watch]}}"
            ),
            Failure::NotServed => {
                format!("{url} does not serve them; is this the API server of a cluster from 1.32 on? {stays}")
            }
            Failure::NotUnderstood(text)
            | Failure::Garbage(text)
            | Failure::Exists(text)
            | Failure::Other { text, .. } => {
                format!("{text}; {stays}")
            }
        };
        if self.told.as_ref() == Some(&text) {
            return Ok(());
        }
        self.solved().await?;
        self.told = Some(text.clone());
        let problem = Problem {
            origin: self.want.origin(),
            place: None,
            object: None,
            field: None,
            text,
        };
        self.shared.send(Event::Problem(problem)).await
    }
}
