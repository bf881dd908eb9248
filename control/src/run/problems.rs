//! Which files have problems now.

use crate::api;
use crate::source;
use std::collections::BTreeMap;

/// Problems by file, in the order in which they were told.
#[derive(Debug, Default)]
pub(super) struct Problems(BTreeMap<String, Vec<source::Problem>>);

impl Problems {
    /// Notes a problem; telling it twice changes nothing.
    pub(super) fn add(&mut self, problem: source::Problem) {
        let list = self.0.entry(problem.file.clone()).or_default();
        if !list.contains(&problem) {
            tracing::warn!("{problem}");
            list.push(problem);
        }
    }

    /// Forgets a file's problems.
    pub(super) fn solved(&mut self, file: &str) {
        self.0.remove(file);
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
                file: problem.file.clone(),
                line: problem.place.map(|place| place.line),
                column: problem.place.map(|place| place.column),
                text,
            }
        };
        self.0.values().flatten().map(row).collect()
    }
}
