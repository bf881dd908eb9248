//! Decides which reports are worth a word only if they last: while one pod ends and another begins, both may claim an address for a moment. It never
//! looks at a clock.

use crate::compile::{Reason, Report};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long pods must claim an address together.
const MINUTE: Duration = Duration::from_secs(60);

/// Since when there are such reports.
#[derive(Debug, Default)]
pub(super) struct Lasting(HashMap<Report, Instant>);

impl Lasting {
    /// These are all there are now.
    pub(super) fn are(&mut self, reports: &[Report], now: Instant) {
        let doubtful = reports.iter().filter(|report| is_doubtful(report));
        let since = doubtful.map(|report| (report.clone(), self.0.get(report).copied().unwrap_or(now)));
        self.0 = since.collect();
    }

    /// Whether this one is to be told.
    pub(super) fn is_told(&self, report: &Report, now: Instant) -> bool {
        let since = || self.0.get(report).copied().unwrap_or(now);
        !is_doubtful(report) || now.saturating_duration_since(since()) >= MINUTE
    }
}

fn is_doubtful(report: &Report) -> bool {
    report.reason == Some(Reason::AddressConflict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Severity;

    fn report(text: &str, reason: Option<Reason>) -> Report {
        Report {
            severity: Severity::Warning,
            object: "pod default/a".into(),
            text: text.into(),
            reason,
        }
    }

    #[test]
    fn an_address_of_two_pods_is_told_after_a_minute_and_everything_else_at_once() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let (one, other) = (
            report("one", Some(Reason::AddressConflict)),
            report("other", Some(Reason::AddressConflict)),
        );
        let plain = report("plain", None);
        let mut lasting = Lasting::default();
        assert!(lasting.is_told(&plain, start) && !lasting.is_told(&one, start));
        lasting.are(&[one.clone(), plain], start);
        lasting.are(&[one.clone(), other.clone()], after(30));
        assert!(!lasting.is_told(&one, after(59)));
        assert!(lasting.is_told(&one, after(60)) && !lasting.is_told(&other, after(60)));
        assert!(lasting.is_told(&other, after(90)));
        // It was over for a moment, so the minute begins anew.
        lasting.are(std::slice::from_ref(&other), after(91));
        lasting.are(&[one.clone(), other.clone()], after(92));
        assert!(!lasting.is_told(&one, after(100)) && lasting.is_told(&one, after(152)));
        assert!(lasting.is_told(&other, after(100)));
    }
}
