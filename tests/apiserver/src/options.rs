//! Decides what the query of a list or watch means and refuses what contradicts itself. It never reads the store.

use crate::status::Status;
use std::collections::BTreeMap;

/// Query of a request, decoded.
pub(crate) type Query = BTreeMap<String, String>;

/// Decodes a query string; of a name given twice the first counts.
pub(crate) fn query(text: &str) -> Query {
    let mut query = Query::new();
    for (key, value) in form_urlencoded::parse(text.as_bytes()) {
        query.entry(key.into_owned()).or_insert_with(|| value.into_owned());
    }
    query
}

/// How the wanted version binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// Exactly that version.
    Exact,
    /// That version or a newer one.
    NotOlderThan,
}

/// Options of a list or watch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// It is a watch.
    pub watch: bool,
    /// Most objects in one answer; 0 is no limit.
    pub limit: usize,
    /// Token of the page before.
    pub proceed: Option<String>,
    /// Version asked for; `Some(0)` is any.
    pub version: Option<u64>,
    /// How it binds.
    pub matching: Option<Match>,
    /// Whether a watch begins with what is there; absent leaves it to the version.
    pub initial: Option<bool>,
    /// Whether bookmarks are wanted.
    pub bookmarks: bool,
    /// Seconds after which a watch ends.
    pub timeout: Option<u64>,
    /// Label selector.
    pub labels: String,
    /// Field selector.
    pub fields: String,
}

impl Options {
    /// Reads a query; `watch_list` says whether the server sends initial events.
    pub(crate) fn parse(query: &Query, watch_list: bool) -> Result<Self, Status> {
        let text = |key: &str| query.get(key).map(String::as_str).unwrap_or_default();
        let flag = |key: &str| matches!(text(key), "true" | "1" | "True" | "t" | "T");
        let number = |key: &str| match text(key) {
            "" => Ok(None),
            value => value.parse::<u64>().map(Some).map_err(|_| {
                Status::bad_request(format!(
                    "Invalid value: {value:?}: {key} must be a number that is not negative"
                ))
            }),
        };
        let options = Self {
            watch: flag("watch"),
            limit: number("limit")?.unwrap_or(0).try_into().unwrap_or(usize::MAX),
            proceed: Some(text("continue").to_owned()).filter(|token| !token.is_empty()),
            version: number("resourceVersion").map_err(|_| {
                let value = text("resourceVersion");
                Status::bad_request(format!(
                    "invalid resource version: resourceVersion: Invalid value: \"{value}\": strconv.ParseUint: parsing \"{value}\": invalid syntax"
                ))
            })?,
            matching: match text("resourceVersionMatch") {
                "Exact" => Some(Match::Exact),
                "NotOlderThan" => Some(Match::NotOlderThan),
                _ => None,
            },
            initial: query
                .contains_key("sendInitialEvents")
                .then(|| flag("sendInitialEvents")),
            bookmarks: flag("allowWatchBookmarks"),
            timeout: number("timeoutSeconds")?,
            labels: text("labelSelector").to_owned(),
            fields: text("fieldSelector").to_owned(),
        };
        let causes = options.contradictions(text("resourceVersionMatch"), watch_list);
        if !causes.is_empty() {
            return Err(Status::invalid("ListOptions", "meta.k8s.io", "", &causes));
        }
        if !options.watch && options.proceed.is_some() && options.version.is_some_and(|version| version > 0) {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        Ok(options)
    }

    fn contradictions(&self, matching: &str, watch_list: bool) -> Vec<(&'static str, &'static str, String)> {
        let mut causes = Vec::new();
        let mut forbid = |field, why: &str| causes.push((field, "FieldValueForbidden", format!("Forbidden: {why}")));
        const MATCH: &str = "resourceVersionMatch";
        let given = !matching.is_empty();
        if self.watch {
            if self.initial.is_some() && self.matching != Some(Match::NotOlderThan) {
                forbid(
                    MATCH,
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                );
            }
            if self.initial.is_some() && !watch_list {
                forbid(
                    "sendInitialEvents",
                    "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
                );
            }
            if given && self.initial.is_none() {
                forbid(
                    MATCH,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                );
            }
        } else {
            if given && self.version.is_none() {
                forbid(
                    MATCH,
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                );
            }
            if self.matching == Some(Match::Exact) && self.version == Some(0) {
                forbid(
                    MATCH,
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                );
            }
            if self.initial.is_some() {
                forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
            }
        }
        if given && self.proceed.is_some() {
            forbid(MATCH, "resourceVersionMatch is forbidden when continue is provided");
        }
        let supported: &[&str] = if self.watch {
            &["NotOlderThan"]
        } else {
            &["Exact", "NotOlderThan"]
        };
        if given && !supported.contains(&matching) {
            let list = supported.join("\", \"");
            let why = format!("Unsupported value: \"{matching}\": supported values: \"{list}\"");
            causes.push((MATCH, "FieldValueNotSupported", why));
        }
        causes
    }
}
