//! Decides how long one waits before one asks again. It never sleeps.

use std::time::Duration;

/// The first time, and the longest.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(20);
/// Longest that a server may ask for.
const ASKED_MOST: Duration = Duration::from_secs(120);

/// Waits that double with each failure, each between half and all of it by chance, so that a thousand agents do not come together.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
}

impl Pace {
    /// It went well.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How often it has failed since.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// It failed; how long to wait, not less than the server asked for.
    pub(super) fn failed(&mut self, asked: Option<Duration>) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let wait = whole.mul_f64(0.5 + fastrand::f64() / 2.0);
        asked.map_or(wait, |asked| asked.min(ASKED_MOST) + wait.min(Duration::from_secs(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_begin_anew_and_a_server_is_heeded() {
        let mut pace = Pace::default();
        for whole in [200, 400, 800, 1600, 3200, 6400, 12_800, 20_000, 20_000] {
            let wait = pace.failed(None).as_millis();
            assert!((whole / 2..=whole).contains(&wait), "{wait} of {whole}");
        }
        let wait = pace.failed(Some(Duration::from_secs(5)));
        assert!(
            wait >= Duration::from_secs(5) && wait <= Duration::from_secs(6),
            "{wait:?}"
        );
        assert!(pace.failed(Some(Duration::MAX)) <= ASKED_MOST + Duration::from_secs(1));
        pace.reset();
        assert!(pace.failed(None) <= FIRST);
    }
}
