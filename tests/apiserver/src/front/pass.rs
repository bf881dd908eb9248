//! Decides how a request goes on to the server and how the answer comes back: unchanged but for what belongs to a connection. It never
//! waits for the end of an answer.

use super::Passing;
use crate::counters::Counters;
use crate::lines::{Lines, Watched};
use crate::options::{Options, query};
use crate::path::{Parts, verb};
use crate::route::{Body, IMPERSONATE};
use crate::serve::Serves;
use crate::spoil::{Over, Spoiler};
use crate::status::Status;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    RETRY_AFTER, TRANSFER_ENCODING,
};
use hyper::{Request, Response};
use kube::client::Body as Sent;
use serde_json::Value;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// What is about the client's connection or its credentials. A compressed stream could not be spoilt line by line.
const NOT_PASSED_ON: [HeaderName; 6] = [
    HOST,
    AUTHORIZATION,
    CONNECTION,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    ACCEPT_ENCODING,
];
const NOT_PASSED_BACK: [HeaderName; 2] = [CONNECTION, TRANSFER_ENCODING];
/// As what a watch that asks for all that is there is counted besides.
pub(super) const STREAMED_LIST: &str = "streamed-list";
/// Longest line, as it is in etcd and somewhat more.
const LONGEST: usize = 16 << 20;

impl Watched for Passing {
    fn lines(&self) -> &Lines {
        &self.lines
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Serves for Passing {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        self.pass(request).await.unwrap_or_else(|status| {
            let mut answer = Response::builder()
                .status(status.code)
                .header(CONTENT_TYPE, "application/json");
            if let Some(seconds) = status.retry_after {
                answer = answer.header(RETRY_AFTER, seconds);
            }
            let body = Full::new(Bytes::from(format!("{}\n", status.json())));
            let body = body.map_err(|never| match never {}).boxed_unsync();
            answer.body(body).unwrap_or_default()
        })
    }
}

impl Passing {
    async fn pass(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Status> {
        let (head, body) = request.into_parts();
        let asked = query(head.uri.query().unwrap_or_default());
        let watching = asked.get("watch").is_some_and(|value| value == "true" || value == "1");
        let parts = Parts::of(head.uri.path());
        let verb = parts.and_then(|parts| verb(&head.method, parts.name.is_some(), watching));
        let named = parts.map_or_else(|| head.uri.path().to_owned(), |parts| parts.named());
        let verb = verb.unwrap_or("get");
        self.counters.request(verb, &named);
        if verb == "watch" && asked.get("sendInitialEvents").is_some_and(|value| value == "true") {
            self.counters.request(STREAMED_LIST, &named);
        }
        if verb != "watch" {
            self.faults.stalled(&named, verb).await;
        }
        if let Some(status) = self.faults.answer(&named, verb) {
            return Err(status);
        }
        if !self.watch_list.load(Ordering::Relaxed) && asked.contains_key("sendInitialEvents") {
            Options::parse(&asked, false)?;
        }
        let lost = |error: String| Status::new(502, "", format!("the API server behind the tests: {error}"));
        let body = body
            .collect()
            .await
            .map_err(|error| lost(error.to_string()))?
            .to_bytes();
        let mut on = Request::new(Sent::from(body.to_vec()));
        *on.method_mut() = head.method;
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        *on.uri_mut() = path.parse().map_err(|_| Status::bad_request("a path that is none"))?;
        *on.headers_mut() = head.headers;
        NOT_PASSED_ON.iter().for_each(|name| _ = on.headers_mut().remove(name));
        let user = self.user.lock().ok().and_then(|user| user.clone());
        if let Some(user) = user.and_then(|user| HeaderValue::try_from(user).ok()) {
            on.headers_mut().insert(IMPERSONATE, user);
        }
        let answer = self.server.send(on).await.map_err(|error| lost(error.to_string()))?;
        let (mut head, body) = answer.into_parts();
        NOT_PASSED_BACK.iter().for_each(|name| _ = head.headers.remove(name));
        let good = head.status.is_success();
        let body = match verb {
            "watch" if good => spoilt(self, named, body),
            _ => body.map_err(io::Error::other).boxed_unsync(),
        };
        Ok(Response::from_parts(head, body))
    }
}

/// A stream, line by line.
fn spoilt(passing: Arc<Passing>, plural: String, body: Sent) -> Body {
    let (sender, mut receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut to = Spoiler::new(sender);
        let mut faults = passing.faults.subscribe();
        let _ = lines(&passing, &plural, body, &mut to, &mut faults).await;
    });
    let stream = futures::stream::poll_fn(move |cx| {
        receiver
            .poll_recv(cx)
            .map(|part| part.map(|part| part.map(Frame::data)))
    });
    StreamBody::new(stream).boxed_unsync()
}

async fn lines(
    passing: &Passing,
    plural: &str,
    mut body: Sent,
    to: &mut Spoiler,
    faults: &mut tokio::sync::watch::Receiver<u64>,
) -> Result<(), Over> {
    let mut rest = Vec::new();
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = to.closed() => return Err(Over),
            // An event that still waits for another is not kept for longer than its fault.
            _ = faults.changed(), if to.holds() => {
                to.flush().await?;
                continue;
            }
        };
        match frame {
            None => {
                to.flush().await?;
                return to.emit(rest.into()).await;
            }
            Some(Ok(frame)) => rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Some(Err(_)) => return to.cut().await,
        }
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            one(passing, plural, line.into(), to).await?;
        }
        if rest.len() > LONGEST {
            return to.cut().await;
        }
    }
}

async fn one(passing: &Passing, plural: &str, line: Bytes, to: &mut Spoiler) -> Result<(), Over> {
    let event: Value = serde_json::from_slice(&line).unwrap_or_default();
    if !matches!(event["type"].as_str(), Some("ADDED" | "MODIFIED" | "DELETED")) {
        return to.mark(&passing.faults, plural, line).await;
    }
    let metadata = &event["object"]["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    let key = format!("{}/{}", text("namespace"), text("name"));
    to.pass(&passing.faults, plural, line, &key).await
}
