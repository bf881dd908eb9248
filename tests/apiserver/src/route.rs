//! Decides what a request means: path, verb, who may, and which part of the server answers. It never touches the store
//! itself.

use crate::auth::Wish;
use crate::options::{Options, Query, query};
use crate::path::{Parts, verb};
use crate::resources::Resource;
use crate::selector::Filter;
use crate::server::Inner;
use crate::spoil::Spoiler;
use crate::status::Status;
use crate::store::Kept;
use crate::view::{Shape, accepted, shown};
use crate::watch::Watch;
use crate::write::{self, Target};
use crate::{discovery, list};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use hyper::{Method, Request, Response};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Whom a request is made for.
pub(crate) const IMPERSONATE: HeaderName = HeaderName::from_static("impersonate-user");

/// Body of every answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An answer that is not an error.
pub(crate) struct Answer {
    code: u16,
    kind: &'static str,
    body: Body,
}

impl Answer {
    /// A body of bytes.
    pub(crate) fn bytes(code: u16, kind: &'static str, bytes: impl Into<Bytes>) -> Self {
        let body = Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync();
        Self { code, kind, body }
    }

    /// JSON.
    pub(crate) fn json(code: u16, value: &Value) -> Self {
        Self::bytes(code, "application/json", format!("{value}\n"))
    }
}

/// Answers a request, whatever it is.
pub(crate) async fn answer(inner: Arc<Inner>, request: Request<Incoming>) -> Response<Body> {
    let mut retry = None;
    let answer = match decide(&inner, request).await {
        Ok(answer) => answer,
        Err(status) => {
            retry = status.retry_after.filter(|_| [429, 503].contains(&status.code));
            Answer::json(status.code, &status.json())
        }
    };
    let mut response = Response::builder()
        .status(answer.code)
        .header(CONTENT_TYPE, answer.kind);
    if let Some(seconds) = retry {
        response = response.header(RETRY_AFTER, seconds);
    }
    response.body(answer.body).unwrap_or_default()
}

/// A path of the API, taken apart.
struct Path<'p> {
    resource: Arc<Resource>,
    namespace: Option<&'p str>,
    name: Option<&'p str>,
    sub: Option<&'p str>,
}

fn parse<'p>(inner: &Inner, path: &'p str) -> Option<Path<'p>> {
    let Parts {
        group,
        version,
        namespace,
        plural,
        name,
        sub,
    } = Parts::of(path)?;
    let resource = inner.find(group, version, plural)?;
    let scoped = resource.namespaced == namespace.is_some() || (namespace.is_none() && name.is_none());
    let sub_known = sub.is_none_or(|sub| sub == "status" && resource.status);
    (scoped && sub_known).then_some(Path {
        resource,
        namespace,
        name,
        sub,
    })
}

async fn decide(inner: &Arc<Inner>, request: Request<Incoming>) -> Result<Answer, Status> {
    let (head, body) = request.into_parts();
    let header = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let user = inner.access().user(header(AUTHORIZATION), header(IMPERSONATE));
    let path = head.uri.path();
    let Some(at) = parse(inner, path) else {
        inner.counters.request(&head.method.as_str().to_ascii_lowercase(), path);
        inner.faults.stalled(path, "get").await;
        if let Some(status) = inner.faults.answer(path, "get") {
            return Err(status);
        }
        user?;
        let found = if head.method == Method::GET {
            discovery::answer(inner, path)
        } else {
            None
        };
        return Ok(found.unwrap_or_else(|| Answer::bytes(404, "text/plain; charset=utf-8", "404 page not found\n")));
    };
    let asked = query(head.uri.query().unwrap_or_default());
    let watching = asked.get("watch").is_some_and(|value| value == "true" || value == "1");
    let Some(verb) = verb(&head.method, at.name.is_some(), watching) else {
        let message = "the server does not allow this method on the requested resource";
        return Err(Status::new(405, "MethodNotAllowed", message));
    };
    let named = at.sub.map_or(at.resource.plural.clone(), |sub| {
        format!("{}/{sub}", at.resource.plural)
    });
    inner.counters.request(verb, &named);
    // A stalled watch stops between its events, so that its head is seen.
    if verb != "watch" {
        inner.faults.stalled(&named, verb).await;
    }
    if let Some(status) = inner.faults.answer(&named, verb) {
        return Err(status);
    }
    let user = user?;
    let namespace = match &*at.resource.storage {
        "/namespaces" => at.name,
        _ => at.namespace,
    };
    let wish = Wish {
        verb,
        group: &at.resource.group,
        resource: &named,
        namespace,
        name: at.name,
    };
    inner.access().check(&user, &wish)?;
    let shape = accepted(header(ACCEPT))?;
    match verb {
        "get" | "list" | "watch" => read(inner, &at, &asked, shape, verb).await,
        _ => {
            let media = header(CONTENT_TYPE).unwrap_or_default().to_owned();
            let bytes = body
                .collect()
                .await
                .map_err(|error| Status::bad_request(error.to_string()))?
                .to_bytes();
            change(inner, &at, &asked, shape, verb, &media, &bytes).await
        }
    }
}

async fn read(inner: &Arc<Inner>, at: &Path<'_>, asked: &Query, shape: Shape, verb: &str) -> Result<Answer, Status> {
    let resource = &at.resource;
    if verb == "get" {
        let name = at.name.unwrap_or_default();
        let key = resource.key(at.namespace.unwrap_or_default(), name);
        let version = asked.get("resourceVersion").and_then(|version| version.parse().ok());
        let object = list::one(inner, resource, &key, name, version).await?;
        return Ok(Answer::json(200, &shown(resource, &object, shape)));
    }
    let options = Options::parse(asked, inner.watch_list.load(Ordering::Relaxed))?;
    let mut filter = Filter::parse(resource, at.namespace, &options.labels, &options.fields)?;
    if verb == "list" {
        let page = list::page(inner, resource, at.namespace, &options, &filter).await?;
        return Ok(Answer::bytes(
            200,
            "application/json",
            list::write(resource, &page, shape),
        ));
    }
    if let Some(name) = at.name {
        filter = filter.named(name);
    }
    if let Some(status) = Watch::refused_early(inner, &options) {
        return Err(status);
    }
    let (sender, mut receiver) = tokio::sync::mpsc::channel(16);
    let watch = Watch {
        inner: inner.clone(),
        resource: resource.clone(),
        namespace: at.namespace.map(str::to_owned),
        options,
        filter,
        shape,
        to: Spoiler::new(sender),
    };
    tokio::spawn(watch.run());
    let stream = futures::stream::poll_fn(move |cx| {
        receiver
            .poll_recv(cx)
            .map(|part| part.map(|part| part.map(Frame::data)))
    });
    Ok(Answer {
        code: 200,
        kind: "application/json",
        body: StreamBody::new(stream).boxed_unsync(),
    })
}

fn body(media: &str, bytes: &[u8], patch: bool) -> Result<Value, Status> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let bad = |error: String| Status::bad_request(format!("error decoding the body: {error}"));
    let plain = media.split(';').next().unwrap_or_default().trim();
    if !plain.is_empty() && !plain.contains("json") && !plain.contains("yaml") && !patch {
        let message = "the body of the request was in an unknown format - accepted media types include: application/json, \
                       application/yaml";
        return Err(Status::new(415, "UnsupportedMediaType", message));
    }
    if media.contains("yaml") {
        let text = std::str::from_utf8(bytes).map_err(|error| bad(error.to_string()))?;
        return serde_saphyr::from_str(text).map_err(|error| bad(error.to_string()));
    }
    serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))
}

async fn change(
    inner: &Arc<Inner>,
    at: &Path<'_>,
    asked: &Query,
    shape: Shape,
    verb: &str,
    media: &str,
    bytes: &[u8],
) -> Result<Answer, Status> {
    let resource = &*at.resource;
    let object = body(media, bytes, verb == "patch")?;
    let to = Target {
        resource,
        namespace: at.namespace,
        name: at.name.unwrap_or_default(),
        status: at.sub.is_some(),
        dry: asked.get("dryRun").is_some_and(|value| value == "All"),
    };
    let show = |object: &Kept| shown(resource, object, shape);
    match verb {
        "create" if resource.namespaced && at.namespace.is_none() => Err(Status::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )),
        "create" => Ok(Answer::json(201, &show(&write::create(inner, &to, object)?))),
        "update" => Ok(Answer::json(200, &show(&write::replace(inner, &to, object)?))),
        "patch" => Ok(Answer::json(200, &show(&write::patch(inner, &to, media, &object)?))),
        "delete" => {
            let mut options = if object.is_null() { json!({}) } else { object };
            if let Some(seconds) = asked
                .get("gracePeriodSeconds")
                .and_then(|text| text.parse::<u64>().ok())
            {
                options["gracePeriodSeconds"] = seconds.into();
            }
            let (gone, at_once) = write::delete(inner, &to, &options)?;
            if resource.returns_object || !at_once {
                return Ok(Answer::json(200, &show(&gone)));
            }
            let details = json!({"name": to.name, "group": resource.group, "kind": resource.plural, "uid": gone["metadata"]["uid"]});
            let status =
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
            Ok(Answer::json(200, &status))
        }
        _ => collection(inner, at, asked, shape, &object).await,
    }
}

/// Deletes all that a list would show, and shows it.
async fn collection(
    inner: &Arc<Inner>,
    at: &Path<'_>,
    asked: &Query,
    shape: Shape,
    options: &Value,
) -> Result<Answer, Status> {
    let selection = Options::parse(asked, true)?;
    let filter = Filter::parse(&at.resource, at.namespace, &selection.labels, &selection.fields)?;
    let page = list::page(inner, &at.resource, at.namespace, &selection, &filter).await?;
    for object in &page.objects {
        let text = |field: &str| object["metadata"][field].as_str();
        let (namespace, name) = (text("namespace"), text("name").unwrap_or_default());
        let to = Target {
            resource: &at.resource,
            namespace,
            name,
            status: false,
            dry: false,
        };
        match write::delete(inner, &to, options) {
            Err(status) if status.code != 404 => return Err(status),
            _ => {}
        }
    }
    Ok(Answer::bytes(
        200,
        "application/json",
        list::write(&at.resource, &page, shape),
    ))
}
