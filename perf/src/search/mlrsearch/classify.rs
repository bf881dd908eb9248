//! Decides what trials at one load say about one goal (RFC 9971 appendices A and B). It never looks at other loads.

use crate::search::Outcome;
use std::time::Duration;

/// What is searched for, and how sure one wants to be: a search goal of RFC 9971.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Goal {
    pub(crate) name: String,
    /// Share of packets that may be lost.
    pub(crate) loss_ratio: f64,
    /// Share of the time in which more may be lost.
    pub(crate) exceed_ratio: f64,
    /// Length of the first trials, and of those that decide.
    pub(crate) initial: Duration,
    pub(crate) last: Duration,
    /// How long a load is tried before it is called good.
    pub(crate) sum: Duration,
    /// How far, as a share, the upper bound may lie above the lower one.
    pub(crate) width: f64,
}

/// What a load is to a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Lower,
    Upper,
    Undecided,
}

/// Seconds of trials, by length and outcome.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    good_long: f64,
    bad_long: f64,
    good_short: f64,
    bad_short: f64,
}

impl Sums {
    fn of(goal: &Goal, trials: &[Outcome]) -> Self {
        let mut sums = Self::default();
        for trial in trials {
            *match (is_long(goal, trial), trial.loss_ratio() <= goal.loss_ratio) {
                (true, true) => &mut sums.good_long,
                (true, false) => &mut sums.bad_long,
                (false, true) => &mut sums.good_short,
                (false, false) => &mut sums.bad_short,
            } += trial.seconds;
        }
        sums
    }
}

/// Whether a trial counts as one of full length. The clock that measured it may be a little short.
fn is_long(goal: &Goal, trial: &Outcome) -> bool {
    trial.seconds >= goal.last.as_secs_f64() * 0.999
}

impl Goal {
    /// Whether the load is a lower bound whatever trials up to the sum would bring, an upper bound likewise, or neither yet.
    pub(super) fn classify(&self, trials: &[Outcome]) -> Class {
        let sums = Sums::of(self, trials);
        // Bad short trials weigh only as far as good short ones leave more than the goal allows.
        let excused = sums.good_short * self.exceed_ratio / (1.0 - self.exceed_ratio);
        let bad = sums.bad_long + (sums.bad_short - excused).max(0.0);
        let whole = (sums.good_long + bad).max(self.sum.as_secs_f64());
        // Sums of many equal parts are not exactly what they should be.
        let allowed = whole * self.exceed_ratio + whole * 1e-9;
        let if_rest_good = bad <= allowed;
        let if_rest_bad = whole - sums.good_long <= allowed;
        match (if_rest_good, if_rest_bad) {
            (true, true) => Class::Lower,
            (false, false) => Class::Upper,
            _ => Class::Undecided,
        }
    }

    /// What arrives at this load in all but the allowed share of the time, packets a second: time that was not measured counts as if all
    /// had been lost.
    pub(super) fn conditional_throughput(&self, load: f64, trials: &[Outcome]) -> f64 {
        let mut long: Vec<&Outcome> = trials.iter().filter(|trial| is_long(self, trial)).collect();
        long.sort_by(|a, b| a.loss_ratio().total_cmp(&b.loss_ratio()));
        let measured: f64 = long.iter().map(|trial| trial.seconds).sum();
        let whole = measured.max(self.sum.as_secs_f64());
        let mut rest = whole * (1.0 - self.exceed_ratio);
        let mut ratio = None;
        for trial in long {
            if ratio.is_some() && rest <= whole * 1e-9 {
                break;
            }
            ratio = Some(trial.loss_ratio());
            rest -= trial.seconds;
        }
        let unmeasured = rest > whole * 1e-9;
        let ratio = ratio.filter(|_| !unmeasured).unwrap_or(1.0);
        load * (1.0 - ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn goal(exceed_ratio: f64, sum: u64) -> Goal {
        Goal {
            name: String::new(),
            loss_ratio: 0.01,
            exceed_ratio,
            initial: SECOND / 2,
            last: SECOND,
            sum: Duration::from_secs(sum),
            width: 0.01,
        }
    }

    /// A trial that lost so many of a thousand.
    fn trial(lost: u64, seconds: f64) -> Outcome {
        Outcome {
            offered: 1000,
            lost,
            seconds,
        }
    }

    fn class(goal: &Goal, lost: &[(u64, f64)]) -> Class {
        goal.classify(
            &lost
                .iter()
                .map(|(lost, seconds)| trial(*lost, *seconds))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn loads_are_classified_as_soon_as_the_rest_cannot_change_it() {
        use Class::{Lower, Undecided, Upper};
        let half = goal(0.5, 21);
        let (good, bad) = ((10, 1.0), (11, 1.0));
        assert_eq!(class(&half, &[]), Undecided);
        assert_eq!(
            (class(&half, &[good; 10]), class(&half, &[good; 11])),
            (Undecided, Lower)
        );
        assert_eq!((class(&half, &[bad; 10]), class(&half, &[bad; 11])), (Undecided, Upper));
        let never = goal(0.0, 3);
        assert_eq!(
            (
                class(&never, &[bad]),
                class(&never, &[good; 2]),
                class(&never, &[good; 3])
            ),
            (Upper, Undecided, Lower)
        );
        // Short trials: bad ones count against the load, as far as good ones do not excuse them; good ones never prove it.
        let (good, bad) = ((0, 0.5), (99, 0.5));
        assert_eq!(class(&half, &[good; 100]), Undecided);
        assert_eq!(class(&half, &[bad; 22]), Upper);
        assert_eq!(class(&half, &[[good; 22], [bad; 22]].concat()), Undecided);
    }

    proptest! {
        /// Of trials of one second: the rest up to the sum is all good, or all bad.
        #[test]
        fn agrees_with_filling_up(lost in proptest::collection::vec(0u64..30, 0..15), sum in 1u64..15, exceed in 0u32..10) {
            let goal = goal(f64::from(exceed) / 10.0, sum);
            let trials: Vec<Outcome> = lost.iter().map(|lost| trial(*lost, 1.0)).collect();
            let whole = trials.len().max(sum as usize);
            let holds = |rest: u64| {
                let bad = lost.iter().copied().chain(std::iter::repeat(rest)).take(whole).filter(|lost| *lost > 10).count();
                bad * 10 <= whole * exceed as usize
            };
            let want = match (holds(0), holds(1000)) {
                (true, true) => Class::Lower,
                (false, false) => Class::Upper,
                _ => Class::Undecided,
            };
            prop_assert_eq!(goal.classify(&trials), want);
            // In all but the allowed share of the time as much arrives, where what was not measured was lost.
            let mut all: Vec<u64> = lost.iter().copied().chain(std::iter::repeat(1000)).take(whole).collect();
            all.sort_unstable();
            let at = (whole * (10 - exceed as usize)).div_ceil(10).max(1) - 1;
            let arrives = 5000.0 * (1.0 - all[at] as f64 / 1000.0);
            prop_assert!((goal.conditional_throughput(5000.0, &trials) - arrives).abs() < 1e-6);
        }
    }
}
