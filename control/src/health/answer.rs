//! Decides which path has which answer.

use super::Role;
use super::serve::Server;
use super::vitals::Healthz;
use crate::api::{Call, Request};
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

const TEXT: &str = "text/plain; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long figures may take to gather.
const PATIENCE: Duration = Duration::from_secs(10);

impl Server {
    /// The answer to a request; what came with it is not looked at.
    pub(super) async fn answer(&self, role: Role, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if ![Method::GET, Method::HEAD].contains(method) {
            let mut response = reply(
                StatusCode::METHOD_NOT_ALLOWED,
                TEXT,
                "only GET and HEAD are answered\n".into(),
            );
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let now = Instant::now();
        match (role, path) {
            (_, "/livez") => probe(self.vitals.livez(now)),
            (Role::Node, "/readyz") => probe(self.vitals.readyz()),
            (Role::Node, "/metrics") => self.metrics().await,
            (Role::LoadBalancers, "/healthz") => healthz(&self.vitals.healthz(now), SystemTime::now()),
            (Role::Node, _) => lost("/livez, /readyz and /metrics"),
            (Role::LoadBalancers, _) => lost("/healthz and /livez"),
        }
    }

    async fn metrics(&self) -> Response<Full<Bytes>> {
        let (answer, answered) = oneshot::channel();
        let call = Call {
            request: Request::Metrics,
            answer,
        };
        let asked = async {
            self.calls.send(call).await.ok()?;
            answered.await.ok()
        };
        // As all answers, it is JSON: a text in quotes.
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Some(Ok(json))) => match serde_json::from_str::<String>(&json) {
                Ok(text) => reply(StatusCode::OK, OPENMETRICS, text),
                Err(err) => unavailable(&err.to_string()),
            },
            Ok(Some(Err(text))) => unavailable(&text),
            Ok(None) => unavailable("the agent is stopping"),
            Err(_) => unavailable("the control loop does not answer"),
        }
    }
}

fn unavailable(text: &str) -> Response<Full<Bytes>> {
    reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{text}\n"))
}

fn lost(known: &str) -> Response<Full<Bytes>> {
    reply(StatusCode::NOT_FOUND, TEXT, format!("here are {known}\n"))
}

fn probe(result: Result<(), String>) -> Response<Full<Bytes>> {
    match result {
        Ok(()) => reply(StatusCode::OK, TEXT, "ok\n".into()),
        Err(text) => unavailable(&text),
    }
}

/// As kube-proxy answers, for load balancers that read more than the status.
fn healthz(health: &Healthz, now: SystemTime) -> Response<Full<Bytes>> {
    let shown = |at: SystemTime| jiff::Timestamp::try_from(at).map_or_else(|_| String::new(), |at| at.to_string());
    let body = serde_json::json!({
        "lastUpdated": health.updated.map(shown),
        "currentTime": shown(now),
        "nodeEligible": health.eligible,
    });
    let status = match health.healthy && health.eligible {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    reply(status, "application/json", format!("{body}\n"))
}

fn reply(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
