//! What is wrong now, by where it comes from, and which files hold more than is used.

use crate::api;
use crate::source;
use std::collections::BTreeMap;

/// Problems by origin, in the order in which they were told, and what is in the files that nobody follows.
#[derive(Debug, Default)]
pub(super) struct Problems {
    problems: BTreeMap<String, Vec<source::Problem>>,
    ignored: BTreeMap<String, source::Ignored>,
}

impl Problems {
    /// Notes a problem; telling it twice changes nothing.
    pub(super) fn add(&mut self, problem: source::Problem) {
        let list = self.problems.entry(problem.origin.clone()).or_default();
        if !list.contains(&problem) {
            tracing::warn!("{problem}");
            list.push(problem);
        }
    }

    /// Forgets the problems of an origin.
    pub(super) fn solved(&mut self, origin: &str) {
        self.problems.remove(origin);
    }

    /// Notes what a file holds that is not followed.
    pub(super) fn ignored(&mut self, file: String, kinds: source::Ignored) {
        if kinds.is_empty() {
            self.ignored.remove(&file);
        } else {
            self.ignored.insert(file, kinds);
        }
    }

    /// Objects that are not followed, of all files, by kind.
    pub(super) fn ignored_kinds(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (kind, count) in self.ignored.values().flatten() {
            *all.entry(kind.clone()).or_default() += count;
        }
        all
    }

    /// For `status`.
    pub(super) fn rows(&self) -> Vec<api::Problem> {
        let row = |problem: &source::Problem| {
            let mut text = String::new();
            if let Some(object) = &problem.object {
                text.push_str(&format!("{object}: "));
            }
            if let Some(field) = problem.field.as_ref().filter(|field| !field.is_empty()) {
                text.push_str(&format!("{field}: "));
            }
            text.push_str(&problem.text);
            api::Problem {
                origin: problem.origin.clone(),
                line: problem.place.map(|place| place.line),
                column: problem.place.map(|place| place.column),
                text,
            }
        };
        self.problems.values().flatten().map(row).collect()
    }
}
