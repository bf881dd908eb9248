//! Decides whether an object is among those that a request selects by labels, fields and namespace. It never fetches
//! objects.

use crate::resources::Resource;
use crate::status::Status;
use serde_json::Value;

/// What one requirement asks of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asks {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Above(i64),
    Below(i64),
}

/// All that a request selects by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    labels: Vec<(String, Asks)>,
    fields: Vec<(String, bool, String)>,
    namespace: Option<String>,
}

impl Filter {
    /// Reads both selectors as the real server does.
    pub(crate) fn parse(
        resource: &Resource,
        namespace: Option<&str>,
        labels: &str,
        fields: &str,
    ) -> Result<Self, Status> {
        let bad = |why: String| Status::bad_request(format!("unable to parse requirement: {why}"));
        Ok(Self {
            labels: split(labels)
                .iter()
                .map(|one| requirement(one).map_err(bad))
                .collect::<Result<_, _>>()?,
            fields: parse_fields(resource, fields)?,
            namespace: namespace.map(str::to_owned),
        })
    }

    /// Narrows it to one name.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.fields.push(("metadata.name".into(), true, name.into()));
        self
    }

    /// True if it asks more than the namespace.
    pub(crate) fn selects(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }

    /// Is this one of them?
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let here = self.namespace.as_deref();
        here.is_none_or(|namespace| object["metadata"]["namespace"] == namespace)
            && self
                .labels
                .iter()
                .all(|(key, asks)| holds(asks, object["metadata"]["labels"][key].as_str()))
            && self
                .fields
                .iter()
                .all(|(path, equal, value)| (field(object, path) == *value) == *equal)
    }
}

fn holds(asks: &Asks, value: Option<&str>) -> bool {
    let number = || value.and_then(|value| value.parse::<i64>().ok());
    match asks {
        Asks::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
        Asks::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
        Asks::Exists => value.is_some(),
        Asks::Absent => value.is_none(),
        Asks::Above(limit) => number().is_some_and(|number| number > *limit),
        Asks::Below(limit) => number().is_some_and(|number| number < *limit),
    }
}

/// The text of a field; an absent switch reads as `false`, as in the typed objects of the real server.
fn field(object: &Value, path: &str) -> String {
    let path = if path == "source" { "source.component" } else { path };
    let value = path.split('.').fold(object, |value, step| &value[step]);
    match value {
        Value::Null if path == "spec.hostNetwork" || path == "spec.unschedulable" => "false".into(),
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Requirements, divided at commas outside of parentheses.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0_u32);
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    if text.trim().is_empty() {
        return Vec::new();
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

fn requirement(text: &str) -> Result<(String, Asks), String> {
    let is_key = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let is_value = |value: &str| value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let (key, asks) = if let Some(key) = text.strip_prefix('!') {
        (key.trim(), Asks::Absent)
    } else if let Some((key, value)) = text.split_once("!=") {
        (key.trim(), Asks::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = text.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        (key.trim(), Asks::In(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = text.split_once(['>', '<']) {
        let number = value.trim().parse().map_err(|_| format!("{value:?} is not a number"))?;
        (
            key.trim(),
            if text.contains('>') {
                Asks::Above(number)
            } else {
                Asks::Below(number)
            },
        )
    } else if let Some((head, set)) = text.split_once('(') {
        let set = set
            .strip_suffix(')')
            .ok_or_else(|| format!("found '{text}', expected: ')'"))?;
        let values = set.split(',').map(|value| value.trim().to_owned()).collect();
        let mut words = head.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(key), Some("in"), None) => (key, Asks::In(values)),
            (Some(key), Some("notin"), None) => (key, Asks::NotIn(values)),
            _ => return Err(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt")),
        }
    } else {
        (text, Asks::Exists)
    };
    let values = match &asks {
        Asks::In(values) | Asks::NotIn(values) => values.as_slice(),
        _ => &[],
    };
    if !is_key(key) {
        return Err(format!("found '{key}', expected: !, identifier, or 'end of string'"));
    }
    match values.iter().find(|value| !is_value(value)) {
        Some(value) => Err(format!("found '{value}', expected: identifier")),
        None => Ok((key.to_owned(), asks)),
    }
}

fn parse_fields(resource: &Resource, text: &str) -> Result<Vec<(String, bool, String)>, Status> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let one = |part: &str| {
        let (path, equal, value) = if let Some((path, value)) = part.split_once("!=") {
            (path, false, value)
        } else if let Some((path, value)) = part.split_once('=') {
            (path, true, value.strip_prefix('=').unwrap_or(value))
        } else {
            return Err(Status::bad_request(format!(
                "invalid selector: '{part}'; can't understand '{part}'"
            )));
        };
        // Events are kept as core/v1 has them; the newer group names three fields anew.
        let path = match resource.group.as_str() {
            "events.k8s.io" if path == "reportingController" => "reportingComponent".to_owned(),
            "events.k8s.io" => path.replace("regarding.", "involvedObject."),
            _ => path.to_owned(),
        };
        let known = ["metadata.name", "metadata.namespace"].contains(&path.as_str())
            || resource.fields().contains(&path.as_str());
        if !known {
            let why = if resource.custom || resource.fields().is_empty() {
                format!("\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
            } else {
                format!("field label not supported: {path}")
            };
            return Err(Status::bad_request(why));
        }
        Ok((path, equal, value.to_owned()))
    };
    parts.map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn matches(labels: &str, object: &Value) -> bool {
        let pods = crate::resources::built_in()
            .into_iter()
            .find(|r| r.plural == "pods")
            .unwrap();
        Filter::parse(&pods, None, labels, "").unwrap().matches(object)
    }

    #[test]
    fn labels_are_selected_by_equality_sets_and_presence() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "front", "weight": "5"}}});
        for selector in [
            "",
            "app",
            "!gone",
            "app=web",
            "app==web",
            "app!=db",
            "gone!=x",
            "app in (web, db)",
            "app notin (db)",
            "gone notin (db)",
            "app=web,tier in (front),!gone",
            "weight>4",
            "weight<6",
        ] {
            assert!(matches(selector, &object), "{selector}");
        }
        for selector in [
            "gone",
            "!app",
            "app=db",
            "app!=web",
            "app in (db)",
            "app notin (web,db)",
            "weight>5",
            "gone=x",
        ] {
            assert!(!matches(selector, &object), "{selector}");
        }
    }

    #[test]
    fn selectors_that_are_none_are_refused() {
        let pods = crate::resources::built_in()
            .into_iter()
            .find(|r| r.plural == "pods")
            .unwrap();
        for (labels, fields) in [
            ("app in web", ""),
            ("=x", ""),
            ("app in (web", ""),
            ("", "spec.foo=x"),
            ("", "status.phase"),
        ] {
            assert_eq!(
                Filter::parse(&pods, None, labels, fields).unwrap_err().code,
                400,
                "{labels} {fields}"
            );
        }
    }

    #[test]
    fn fields_are_selected_by_their_text_and_absent_switches_are_false() {
        let pods = crate::resources::built_in()
            .into_iter()
            .find(|r| r.plural == "pods")
            .unwrap();
        let object = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}});
        for (fields, expected) in [
            ("spec.nodeName=n1", true),
            ("spec.nodeName!=n1", false),
            (
                "spec.hostNetwork=false,status.phase!=Succeeded,status.phase!=Failed",
                true,
            ),
            ("spec.hostNetwork=true", false),
            ("metadata.name==a", true),
        ] {
            let filter = Filter::parse(&pods, None, "", fields).unwrap();
            assert_eq!(filter.matches(&object), expected, "{fields}");
        }
    }
}
