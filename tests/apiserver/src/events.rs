//! Decides what the server takes of events of `events.k8s.io/v1`, whose rules are stricter than those of the core group: what must be said, how
//! long it may be, and that nothing but the series may change. It never looks at who writes.

use crate::resources::Resource;
use crate::status::Status;
use serde_json::Value;

/// Longest texts, bytes.
const WORD: usize = 128;
const NOTE: usize = 1024;

fn is_strict(resource: &Resource) -> bool {
    resource.group == "events.k8s.io"
}

/// Checks a new event, as it came.
pub(crate) fn born(resource: &Resource, event: &Value) -> Result<(), Status> {
    if !is_strict(resource) {
        return Ok(());
    }
    let mut causes = Vec::new();
    let mut wrong = |field: &'static str, reason: &'static str, why: &str| causes.push((field, reason, why.to_owned()));
    for field in ["reportingController", "reportingInstance", "action", "reason"] {
        match event[field].as_str().unwrap_or_default() {
            "" => wrong(field, "FieldValueRequired", "Required value"),
            text if text.len() > WORD => wrong(field, "FieldValueInvalid", "can have at most 128 characters"),
            _ => {}
        }
    }
    if event["note"].as_str().is_some_and(|note| note.len() > NOTE) {
        wrong("note", "FieldValueInvalid", "can have at most 1024 characters");
    }
    if !["Normal", "Warning"].iter().any(|known| event["type"] == *known) {
        wrong("type", "FieldValueInvalid", "has invalid value");
    }
    if !is_micro_time(&event["eventTime"]) {
        wrong("eventTime", "FieldValueRequired", "Required value");
    }
    for field in [
        "deprecatedCount",
        "deprecatedSource",
        "deprecatedFirstTimestamp",
        "deprecatedLastTimestamp",
    ] {
        if !event[field].is_null() {
            wrong(field, "FieldValueInvalid", "needs to be unset");
        }
    }
    if !is_series(&event["series"]) {
        wrong(
            "series",
            "FieldValueInvalid",
            "count should be at least 2, lastObservedTime is required",
        );
    }
    // An object without a namespace has its events in this one.
    let place = event["regarding"]["namespace"].as_str().unwrap_or("default");
    if event["metadata"]["namespace"] != place {
        wrong(
            "regarding.namespace",
            "FieldValueInvalid",
            "does not match event.namespace",
        );
    }
    refuse(resource, event, &causes)
}

/// Checks a changed one, both as they are shown.
pub(crate) fn changed(resource: &Resource, old: &Value, new: &Value) -> Result<(), Status> {
    if !is_strict(resource) {
        return Ok(());
    }
    let mut causes = Vec::new();
    let all = old
        .as_object()
        .into_iter()
        .chain(new.as_object())
        .flat_map(|fields| fields.keys());
    for field in all.filter(|field| !["metadata", "series", "apiVersion", "kind"].contains(&field.as_str())) {
        if old.get(field) != new.get(field) {
            causes.push((field.as_str(), "FieldValueInvalid", "field is immutable".to_owned()));
        }
    }
    if old["series"] != new["series"] && !is_series(&new["series"]) {
        causes.push((
            "series",
            "FieldValueInvalid",
            "count should be at least 2, lastObservedTime is required".to_owned(),
        ));
    }
    refuse(resource, new, &causes)
}

fn is_series(series: &Value) -> bool {
    series.is_null() || (series["count"].as_u64() >= Some(2) && is_micro_time(&series["lastObservedTime"]))
}

fn is_micro_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == "2006-01-02T15:04:05.000000Z".len() && text.parse::<jiff::Timestamp>().is_ok()
}

fn refuse(resource: &Resource, event: &Value, causes: &[(&str, &str, String)]) -> Result<(), Status> {
    let name = event["metadata"]["name"].as_str().unwrap_or_default();
    match causes.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid(&resource.kind, &resource.group, name, causes)),
    }
}
