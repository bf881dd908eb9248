//! Decides what an answer of the API server means: what it refuses and why, and how much of it is read. It never asks again.

use super::wants::Asked;
use futures::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, TryStreamExt};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Display;
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// An answer begins within this time.
const PATIENCE: Duration = Duration::from_secs(20);
/// A page is there within this time.
const PAGE_PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes of an answer's parts; etcd refuses objects of more than 1.5 MiB.
const LONGEST_REFUSAL: u64 = 64 << 10;
const LONGEST_PAGE: u64 = 1 << 30;
const LONGEST_EVENT: u64 = 8 << 20;

/// Why there is no answer of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The version or the page is not known any more (410).
    Gone,
    /// The server does not know such a request, or not yet (400, 422).
    NotUnderstood(String),
    /// Access is not granted (403).
    Forbidden(String),
    /// This kind is not served, or the object is not there (404).
    NotServed,
    /// What was to be created is there already (409).
    Exists(String),
    /// What came is none of what was asked for.
    Garbage(String),
    /// The connection broke before all was there.
    Broken(String),
    /// Nothing was heard for so long that the connection must be dead.
    Silent,
    /// Anything else, and when the server wants to be asked again.
    Other {
        /// For a person.
        text: String,
        /// As it said.
        after: Option<Duration>,
        /// No server has answered, so another address may.
        unreachable: bool,
    },
}

impl Failure {
    fn unreachable(text: impl Display) -> Self {
        Self::Other {
            text: text.to_string(),
            after: None,
            unreachable: true,
        }
    }

    fn of(code: u16, after: Option<Duration>, body: &[u8]) -> Self {
        let said = serde_json::from_slice::<Status>(body).unwrap_or_default();
        let text = match said.message.is_empty() {
            true => format!("it answers with HTTP status {code}"),
            false => said
                .message
                .chars()
                .take(300)
                .collect::<String>()
                .escape_debug()
                .to_string(),
        };
        match code {
            410 => Self::Gone,
            400 | 422 => Self::NotUnderstood(text),
            403 => Self::Forbidden(text),
            404 => Self::NotServed,
            409 => Self::Exists(text),
            401 => Self::Other {
                text: format!("it does not accept this agent's credentials ({text})"),
                after,
                unreachable: false,
            },
            _ => Self::Other {
                text,
                after: after.or(said.details.retry_after_seconds.map(Duration::from_secs)),
                unreachable: false,
            },
        }
    }
}

/// A `v1` Status.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    code: u16,
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<u64>,
}

/// A page of a list.
#[derive(Deserialize)]
pub(super) struct Page {
    /// Of the whole list.
    pub(super) metadata: PageMeta,
    /// Objects, without kind.
    #[serde(default)]
    pub(super) items: Option<Vec<Value>>,
}

/// Of a page.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PageMeta {
    /// What to follow changes from.
    pub(super) resource_version: String,
    /// Where the next page begins; empty after the last.
    pub(super) r#continue: String,
}

/// What a stream says.
#[derive(Debug)]
pub(super) enum Said {
    /// The object is there.
    Is(Value),
    /// The object is gone.
    Gone(Value),
    /// All up to this version has been said; `true` ends what was there at the beginning.
    Bookmark(String, bool),
}

/// A stream of changes.
pub(super) struct Stream {
    lines: Box<dyn AsyncBufRead + Send + Unpin>,
    line: Vec<u8>,
    silence: Duration,
}

/// Asks for one page.
pub(super) async fn page(client: &Client, asked: Asked) -> Result<Page, Failure> {
    let mut body = send(client, asked).await?.take(LONGEST_PAGE);
    let mut bytes = Vec::new();
    match timeout(PAGE_PATIENCE, body.read_to_end(&mut bytes)).await {
        Ok(Ok(_)) => {}
        Ok(Err(err)) => return Err(Failure::Broken(cause(&err))),
        Err(_) => return Err(Failure::Broken("a list is not there within a minute".into())),
    }
    serde_json::from_slice(&bytes).map_err(|err| Failure::Garbage(format!("a list that is none: {err}")))
}

/// Asks for something to be done.
pub(super) async fn done(client: &Client, asked: Asked) -> Result<(), Failure> {
    send(client, asked).await.map(drop)
}

/// Asks for a stream.
pub(super) async fn stream(client: &Client, asked: Asked, silence: Duration) -> Result<Stream, Failure> {
    Ok(Stream {
        lines: Box::new(send(client, asked).await?),
        line: Vec::new(),
        silence,
    })
}

async fn send(client: &Client, asked: Asked) -> Result<impl AsyncBufRead + Send + Unpin + use<>, Failure> {
    let sent = timeout(PATIENCE, client.send(asked.map(Body::from))).await;
    let answer = sent
        .map_err(|_| Failure::unreachable("no answer within 20 s"))?
        .map_err(|err| Failure::unreachable(cause(&err)))?;
    let code = answer.status().as_u16();
    let after = answer.headers().get(http::header::RETRY_AFTER);
    let after = after
        .and_then(|after| after.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let mut body = answer
        .into_body()
        .into_data_stream()
        .map_err(io::Error::other)
        .into_async_read();
    if matches!(code, 200 | 201) {
        return Ok(body);
    }
    let mut bytes = Vec::new();
    let mut limited = (&mut body).take(LONGEST_REFUSAL);
    // What was read says enough.
    let _ = timeout(PATIENCE, limited.read_to_end(&mut bytes)).await;
    Err(Failure::of(code, after, &bytes))
}

impl Stream {
    /// The next thing said; `None` when the server has ended it.
    pub(super) async fn next(&mut self) -> Result<Option<Said>, Failure> {
        loop {
            self.line.clear();
            let mut limited = (&mut self.lines).take(LONGEST_EVENT);
            let read = timeout(self.silence, limited.read_until(b'\n', &mut self.line)).await;
            match read {
                Ok(Ok(0)) => return Ok(None),
                Ok(Ok(_)) => {}
                Ok(Err(err)) => return Err(Failure::Broken(cause(&err))),
                Err(_) => return Err(Failure::Silent),
            }
            if self.line.last() != Some(&b'\n') {
                return match self.line.len() as u64 {
                    LONGEST_EVENT.. => Err(Failure::Garbage("an event of more than 8 MiB".into())),
                    _ => Err(Failure::Broken("it ended within an event".into())),
                };
            }
            if let Some(said) = event(&self.line)? {
                return Ok(Some(said));
            }
        }
    }
}

/// A line of a stream; `None` of a type that is not known.
fn event(line: &[u8]) -> Result<Option<Said>, Failure> {
    #[derive(Deserialize)]
    struct Event {
        r#type: String,
        object: Value,
    }
    let Event { r#type, object } =
        serde_json::from_slice(line).map_err(|err| Failure::Garbage(format!("an event that is none: {err}")))?;
    Ok(match r#type.as_str() {
        "ADDED" | "MODIFIED" => Some(Said::Is(object)),
        "DELETED" => Some(Said::Gone(object)),
        "BOOKMARK" => {
            let ends = object.pointer("/metadata/annotations/k8s.io~1initial-events-end");
            let ends = ends.is_some_and(|ends| ends == "true");
            let Some(version) = version(&object) else {
                return Err(Failure::Garbage("a bookmark without a version".into()));
            };
            Some(Said::Bookmark(version.to_owned(), ends))
        }
        "ERROR" => {
            let status = serde_json::from_value::<Status>(object.clone()).unwrap_or_default();
            return Err(Failure::of(status.code, None, object.to_string().as_bytes()));
        }
        _ => None,
    })
}

/// The version of an object.
pub(super) fn version(object: &Value) -> Option<&str> {
    object
        .pointer("/metadata/resourceVersion")?
        .as_str()
        .filter(|version| !version.is_empty())
}

/// What an error comes from in the end: what is around it says by which layers it came.
fn cause(err: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = err;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    let text = text.lines().next().unwrap_or_default();
    // Rustls ends with the address of a page.
    text.split(": https://").next().unwrap_or_default().to_owned()
}

/// An error with what caused it, each said once, of each the first line.
pub(super) fn chain(err: &dyn std::error::Error) -> String {
    let line = |err: &dyn std::error::Error| err.to_string().lines().next().unwrap_or_default().to_owned();
    let mut text = line(err);
    let mut source = err.source();
    while let Some(err) = source {
        let more = line(err);
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = err.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart_and_their_texts_are_short_and_printable() {
        let of = |code, body: &str| Failure::of(code, None, body.as_bytes());
        assert_eq!(of(410, ""), Failure::Gone);
        assert_eq!(of(404, ""), Failure::NotServed);
        assert_eq!(
            of(403, r#"{"message":"no\u001b[1m"}"#),
            Failure::Forbidden("no\\u{1b}[1m".into())
        );
        let long = format!(
            r#"{{"message":"{}","details":{{"retryAfterSeconds":7}}}}"#,
            "x".repeat(1000)
        );
        let Failure::Other {
            text,
            after,
            unreachable,
        } = of(429, &long)
        else {
            panic!()
        };
        assert_eq!(
            (text.len(), after, unreachable),
            (300, Some(Duration::from_secs(7)), false)
        );
        assert_eq!(
            of(422, "<html>"),
            Failure::NotUnderstood("it answers with HTTP status 422".into())
        );
    }

    #[test]
    fn lines_of_a_stream_are_events_or_said_to_be_garbage() {
        let of = |line: &str| event(line.as_bytes());
        let bookmark = r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
        assert!(matches!(of(bookmark), Ok(Some(Said::Bookmark(version, true))) if version == "9"));
        assert!(matches!(
            of(r#"{"type":"DELETED","object":{}}"#),
            Ok(Some(Said::Gone(_)))
        ));
        assert!(
            matches!(of(r#"{"type":"NEWS","object":{}}"#), Ok(None)),
            "a later server may say more"
        );
        assert_eq!(
            of(r#"{"type":"ERROR","object":{"code":410}}"#).unwrap_err(),
            Failure::Gone
        );
        for line in [
            "",
            "{",
            "[]",
            r#"{"type":"ADDED"}"#,
            r#"{"type":"BOOKMARK","object":{}}"#,
        ] {
            assert!(matches!(of(line), Err(Failure::Garbage(_))), "{line}");
        }
    }
}
