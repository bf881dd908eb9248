//! Decides how an object gets into a server over HTTP as its writers would bring it there: made or replaced by its own path, its status by
//! the path of the status. It never writes what controllers or the server write.

use crate::resources::Resource;
use anyhow::{Result, bail};
use http_body_util::BodyExt;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A conflict, or a namespace that is not ready for pods, is over by then.
const PATIENCE: Duration = Duration::from_secs(30);
const JSON: &str = "application/json";

/// Path of an object; of all if it has no name, in all namespaces if there is none.
pub(super) fn path(resource: &Resource, namespace: &str, name: &str) -> String {
    let root = match &*resource.group {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    let namespace = match namespace {
        "" => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    let name = if name.is_empty() {
        String::new()
    } else {
        format!("/{name}")
    };
    format!("{root}{namespace}/{}{name}", resource.plural)
}

/// A request and its answer; of a stream the first event.
pub(super) async fn ask(
    client: &Client,
    method: Method,
    path: &str,
    media: &str,
    body: Option<&Value>,
) -> Result<(u16, Value)> {
    let mut request = Request::builder().method(method).uri(path);
    if !media.is_empty() {
        request = request.header(CONTENT_TYPE, media);
    }
    send(
        client,
        request.body(Body::from(body.map(Value::to_string).unwrap_or_default().into_bytes()))?,
    )
    .await
}

/// The same of a request that is made.
pub(super) async fn send(client: &Client, request: Request<Body>) -> Result<(u16, Value)> {
    let answer = client.send(request).await?;
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect().await?.to_bytes();
    let first = serde_json::Deserializer::from_slice(&bytes).into_iter().next();
    Ok((code, first.and_then(Result::ok).unwrap_or_default()))
}

/// Creates an object, or replaces what it says, and its status after it.
pub(super) async fn apply(client: &Client, resource: &Resource, wanted: Value) -> Result<Value> {
    let text = |field: &str| wanted["metadata"][field].as_str().unwrap_or_default();
    let namespace = if resource.namespaced { text("namespace") } else { "" };
    let (all, one) = (path(resource, namespace, ""), path(resource, namespace, text("name")));
    let deadline = Instant::now() + PATIENCE;
    let object = loop {
        let (code, answer) = match ask(client, Method::GET, &one, "", None).await? {
            (404, _) => ask(client, Method::POST, &all, JSON, Some(&wanted)).await?,
            (200, there) => ask(client, Method::PUT, &one, JSON, Some(&merged(resource, there, &wanted))).await?,
            other => other,
        };
        match code {
            200 | 201 => break answer,
            // A new namespace has no service account for pods until its controller made one.
            403 | 404 | 409 | 429 | 500.. if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            _ => bail!("{one} is not taken: {code} {}", answer["message"]),
        }
    };
    // Pods are born without a status; nodes are registered with one.
    let media = match &*resource.plural {
        "pods" => "application/merge-patch+json",
        "nodes" => "application/strategic-merge-patch+json",
        _ => return Ok(object),
    };
    let said = wanted["status"].as_object().into_iter().flatten();
    if said.clone().all(|(field, value)| object["status"][field] == *value) {
        return Ok(object);
    }
    let patch = json!({"status": wanted["status"]});
    match ask(client, Method::PATCH, &format!("{one}/status"), media, Some(&patch)).await? {
        (200, object) => Ok(object),
        (code, answer) => bail!("the status of {one} is not taken: {code} {}", answer["message"]),
    }
}

/// What is there, saying what is wanted instead; what the server filled in stays.
fn merged(resource: &Resource, mut there: Value, wanted: &Value) -> Value {
    for field in ["labels", "annotations"] {
        there["metadata"][field] = wanted["metadata"][field].clone();
    }
    for (field, value) in wanted.as_object().into_iter().flatten() {
        match (field.as_str(), &*resource.plural) {
            ("metadata" | "status", _) => {}
            // Of a pod hardly anything may change.
            ("spec", "pods") => {}
            ("spec", "services" | "nodes") => {
                for (field, value) in value.as_object().into_iter().flatten() {
                    there["spec"][field] = value.clone();
                }
            }
            _ => there[field] = value.clone(),
        }
    }
    there
}

/// Deletes an object at once; false if there is none.
pub(super) async fn delete(client: &Client, path: &str) -> Result<bool> {
    match ask(
        client,
        Method::DELETE,
        &format!("{path}?gracePeriodSeconds=0"),
        "",
        None,
    )
    .await?
    {
        (200 | 202, _) => Ok(true),
        (404, _) => Ok(false),
        // A namespace that is on its way cannot be sent there again.
        (409, _) => Ok(true),
        (code, answer) => bail!("{path} is not deleted: {code} {}", answer["message"]),
    }
}
