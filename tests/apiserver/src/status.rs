//! Decides how a refusal looks: the Status object with code, reason, message, details. It never decides that something
//! is refused.

use crate::resources::Resource;
use serde_json::{Value, json};

/// A refusal.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Reason for programs; empty where the real server has none.
    pub reason: &'static str,
    /// Reason for people.
    pub message: String,
    /// The object concerned and the causes.
    pub details: Option<Value>,
    /// Seconds after which to try again, also sent as a header with code 429 and 503.
    pub retry_after: Option<u32>,
    /// Token to go on with an expired list.
    pub proceed: Option<String>,
}

impl Status {
    /// A refusal without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            ..Self::default()
        }
    }

    /// What any code says without a better reason.
    pub fn plain(code: u16, retry_after: Option<u32>) -> Self {
        let (reason, message) = match code {
            400 => ("BadRequest", "the server rejected our request for an unknown reason"),
            401 => ("Unauthorized", "Unauthorized"),
            403 => ("Forbidden", "forbidden"),
            404 => ("NotFound", "the server could not find the requested resource"),
            409 => ("Conflict", "the server reported a conflict"),
            410 => ("Expired", "The resourceVersion for the provided watch is too old."),
            429 => (
                "TooManyRequests",
                "the server has received too many requests and has asked us to try again later",
            ),
            503 => (
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            504 => (
                "Timeout",
                "the server was unable to return a response in the time allotted",
            ),
            _ => (
                "InternalError",
                "an error on the server has prevented the request from succeeding",
            ),
        };
        Self {
            retry_after,
            ..Self::new(code, reason, message)
        }
    }

    /// The request itself is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// There is no such object.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::about(
            404,
            "NotFound",
            resource,
            name,
            &format!("{} not found", quoted(resource, name)),
        )
    }

    /// The name is taken.
    pub fn exists(resource: &Resource, name: &str) -> Self {
        Self::about(
            409,
            "AlreadyExists",
            resource,
            name,
            &format!("{} already exists", quoted(resource, name)),
        )
    }

    /// Somebody else was faster.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {}: {why}", quoted(resource, name));
        Self::about(409, "Conflict", resource, name, &message)
    }

    /// The object is not one: field, kind of fault as in causes, and what is wrong.
    pub fn invalid(kind: &str, group: &str, name: &str, causes: &[(&str, &str, String)]) -> Self {
        let said: Vec<String> = causes.iter().map(|(field, _, why)| format!("{field}: {why}")).collect();
        let said = if said.len() == 1 {
            said[0].clone()
        } else {
            format!("[{}]", said.join(", "))
        };
        let shown = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let listed: Vec<Value> = causes
            .iter()
            .map(|(field, reason, why)| json!({"field": field, "reason": reason, "message": why}))
            .collect();
        let mut details = json!({"kind": kind, "causes": listed});
        for (key, value) in [("group", group), ("name", name)] {
            if !value.is_empty() {
                details[key] = value.into();
            }
        }
        Self {
            details: Some(details),
            ..Self::new(422, "Invalid", format!("{shown} \"{name}\" is invalid: {said}"))
        }
    }

    /// What was asked for is no longer known.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// What was asked for is not known yet.
    pub fn too_large(asked: u64, current: u64, retry_after: u32) -> Self {
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        Self {
            details: Some(json!({"causes": [cause]})),
            retry_after: Some(retry_after),
            ..Self::new(
                504,
                "Timeout",
                format!("Timeout: Too large resource version: {asked}, current: {current}"),
            )
        }
    }

    fn about(code: u16, reason: &'static str, resource: &Resource, name: &str, message: &str) -> Self {
        let mut details = json!({"name": name, "kind": resource.plural});
        if !resource.group.is_empty() {
            details["group"] = resource.group.clone().into();
        }
        Self {
            details: Some(details),
            ..Self::new(code, reason, message)
        }
    }

    /// As it is sent.
    pub fn json(&self) -> Value {
        let mut metadata = json!({});
        if let Some(token) = &self.proceed {
            metadata["continue"] = token.clone().into();
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        let mut details = self.details.clone();
        if let Some(seconds) = self.retry_after.filter(|seconds| *seconds > 0) {
            details.get_or_insert_with(|| json!({}))["retryAfterSeconds"] = seconds.into();
        }
        if let Some(details) = details {
            status["details"] = details;
        }
        status
    }
}

/// `pods "web"` or `networkpolicies.networking.k8s.io "web"`.
fn quoted(resource: &Resource, name: &str) -> String {
    if resource.group.is_empty() {
        return format!("{} \"{name}\"", resource.plural);
    }
    format!("{}.{} \"{name}\"", resource.plural, resource.group)
}
