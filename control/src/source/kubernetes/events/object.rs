//! Decides how an Event is written, within what the API server takes of one. It never decides whether.

use super::ledger::Word;
use crate::source::Regarding;
use crate::source::kubernetes::wants::Made;
use jiff::Timestamp;
use kube::core::Request;
use kube::core::params::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// Who says it.
const CONTROLLER: &str = "sluice.io/agent";
/// Limits of the API, bytes.
const LONGEST_NOTE: usize = 1024;
const LONGEST_INSTANCE: usize = 128;

/// Makes the Event.
pub(super) fn create(node: &str, word: &Word) -> Made {
    let (reason, action) = (word.notice.reason, word.notice.action);
    let mut event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": word.name, "namespace": namespace(word)},
        "eventTime": time(word.since), "reportingController": CONTROLLER, "reportingInstance": cut(node, LONGEST_INSTANCE),
        "type": if word.notice.warning { "Warning" } else { "Normal" }, "reason": reason, "action": action,
        "regarding": regarding(node, &word.notice.regarding), "note": note(&word.notice.note),
    });
    // The API takes no series of one.
    if word.count > 1 {
        event["series"] = series(word);
    }
    let body = event.to_string().into_bytes();
    path(word).create(&PostParams::default(), body)
}

/// Says that it happened again; nothing else of an Event can be changed.
pub(super) fn patch(word: &Word) -> Made {
    let change = json!({"series": series(word)});
    path(word).patch(&word.name, &PatchParams::default(), &Patch::Merge(change))
}

fn path(word: &Word) -> Request {
    Request::new(format!("/apis/events.k8s.io/v1/namespaces/{}/events", namespace(word)))
}

/// Where Events about objects live that are in no namespace.
fn namespace(word: &Word) -> &str {
    match &word.notice.regarding {
        Regarding::Node => "default",
        Regarding::Pod { namespace, .. } => namespace,
    }
}

/// A Node's uid is its name, as kubelet writes it: it is known without the Node, and `kubectl describe node` looks for both.
fn regarding(node: &str, regarding: &Regarding) -> Value {
    match regarding {
        Regarding::Node => json!({"apiVersion": "v1", "kind": "Node", "name": node, "uid": node}),
        Regarding::Pod { namespace, name, uid } => {
            let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name});
            if let Some(uid) = uid {
                pod["uid"] = json!(uid);
            }
            pod
        }
    }
}

fn series(word: &Word) -> Value {
    json!({"count": word.count, "lastObservedTime": time(word.last)})
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// On one line, so that nothing in it moves a terminal's cursor.
fn note(text: &str) -> String {
    let plain = text.replace(char::is_control, " ");
    match plain.len() > LONGEST_NOTE {
        true => format!("{}...", cut(&plain, LONGEST_NOTE - 3)),
        false => plain,
    }
}

fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}
