//! Searches on devices with a known answer.

use super::mlrsearch::{self, Goal};
use super::simulated::Device;
use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);
const RANGE: Range = Range { min: 1000.0, max: 10e6 };

fn rfc2544(range: Range) -> rfc2544::Search {
    rfc2544::Search {
        range,
        trial: SECOND,
        last: 60 * SECOND,
        tolerance: 0.005,
    }
}

fn goal(name: &str, loss_ratio: f64) -> Goal {
    Goal {
        name: name.into(),
        loss_ratio,
        exceed_ratio: 0.5,
        initial: SECOND,
        last: SECOND,
        sum: 21 * SECOND,
        width: 0.005,
    }
}

fn both() -> mlrsearch::Search {
    mlrsearch::Search {
        range: RANGE,
        goals: vec![goal("NDR", 0.0), goal("PDR", 0.005)],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn rfc2544_finds_the_throughput_within_its_tolerance(capacity in 2000.0f64..9.9e6) {
        let mut device = Device::of(capacity);
        let found = rfc2544(RANGE).run(&mut device, |_, _, _| {}).unwrap();
        let (low, high) = (found.throughput.unwrap(), found.above.unwrap());
        // A frame is lost as a whole: up to one more a second passes unseen.
        prop_assert!(low <= capacity + 1.0, "{low} is above {capacity}");
        prop_assert!(low >= capacity * 0.995 - 2.0, "{low} is too far below {capacity}");
        prop_assert!(high > capacity);
        let (load, last) = device.trials.last().unwrap();
        prop_assert_eq!((*load, last.lost, last.seconds), (low, 0, 60.0), "a trial of full length decided");
    }

    #[test]
    fn mlrsearch_finds_both_rates_within_their_widths(capacity in 2000.0f64..9.9e6) {
        let mut device = Device::of(capacity);
        let found = both().run(&mut device, |_, _, _| {}).unwrap();
        // As much may be offered for the loss to be half a percent.
        for (found, ideal) in found.iter().zip([capacity, capacity / 0.995]) {
            let (lower, upper) = (found.lower.unwrap(), found.upper.unwrap());
            prop_assert!(lower <= ideal + 2.0 && upper >= ideal - 2.0, "{found:?} {ideal}");
            prop_assert!(upper - lower <= 0.005 * upper + 1.0, "{found:?}");
            prop_assert!((found.throughput.unwrap() - lower.min(capacity)).abs() <= 2.0, "{found:?} {capacity}");
        }
    }

    /// In one of twenty trials the device loses 1 %: with an exceed ratio of one half that does not matter; with zero each such load is too high.
    #[test]
    fn mlrsearch_looks_through_noise_as_far_as_the_goal_allows(capacity in 10_000.0f64..9e6, seed: u64) {
        let mut device = Device::noisy(capacity, 0.05, seed);
        let found = both().run(&mut device, |_, _, _| {}).unwrap();
        for (found, ideal) in found.iter().zip([capacity, capacity / 0.995]) {
            let (lower, upper) = (found.lower.unwrap(), found.upper.unwrap());
            prop_assert!(lower <= ideal + 2.0, "{found:?} {ideal}");
            prop_assert!(lower > ideal * 0.9, "{found:?} {ideal}");
            prop_assert!(upper > lower);
        }
        let strict = mlrsearch::Search {
            goals: vec![Goal { exceed_ratio: 0.0, ..goal("NDR", 0.0) }],
            range: RANGE,
        };
        let found = strict.run(&mut device, |_, _, _| {}).unwrap();
        prop_assert!(found[0].lower.is_none_or(|lower| lower <= capacity + 1.0));
    }
}

#[test]
fn a_device_that_is_faster_or_leaks_always_has_one_bound_only() {
    let mut fast = Device::of(11e6);
    let found = rfc2544(RANGE).run(&mut fast, |_, _, _| {}).unwrap();
    assert_eq!((found.throughput, found.above), (Some(10e6), None));
    let found = both().run(&mut fast, |_, _, _| {}).unwrap();
    assert!(
        found
            .iter()
            .all(|found| (found.lower, found.upper, found.throughput) == (Some(10e6), None, Some(10e6)))
    );

    let leaky = || Device::leaky(1e6, 0.001);
    let found = rfc2544(RANGE).run(&mut leaky(), |_, _, _| {}).unwrap();
    assert_eq!((found.throughput, found.above), (None, Some(1000.0)));
    let found = both().run(&mut leaky(), |_, _, _| {}).unwrap();
    assert_eq!(
        (found[0].lower, found[0].upper),
        (None, Some(1000.0)),
        "no rate without loss"
    );
    assert!(
        found[1].upper.is_some() && (found[1].throughput.unwrap() - 0.995e6).abs() < 0.01e6,
        "{found:?}"
    );
}

#[test]
fn a_load_that_fails_when_tried_for_long_is_not_the_throughput() {
    /// Loses one frame a minute above 500,000 a second.
    struct Rare(Device);
    impl Trial for Rare {
        fn run(&mut self, load: f64, duration: Duration) -> Result<Outcome> {
            let mut outcome = self.0.run(load, duration)?;
            outcome.lost += u64::from(load > 500_000.0 && duration >= 60 * SECOND);
            Ok(outcome)
        }
    }
    let found = rfc2544(RANGE).run(&mut Rare(Device::of(1e6)), |_, _, _| {}).unwrap();
    let throughput = found.throughput.unwrap();
    assert!((497_500.0..=500_000.0).contains(&throughput), "{throughput}");
}

#[test]
fn short_trials_save_time_and_mlrsearch_shares_them_between_goals() {
    let search = mlrsearch::Search {
        goals: [0.0, 0.005]
            .map(|loss| Goal {
                last: 10 * SECOND,
                sum: 60 * SECOND,
                ..goal("", loss)
            })
            .to_vec(),
        range: RANGE,
    };
    let mut device = Device::of(3.3e6);
    search.run(&mut device, |_, _, _| {}).unwrap();
    let lengths: Vec<f64> = device.trials.iter().map(|(_, outcome)| outcome.seconds).collect();
    assert!(lengths.is_sorted(), "trials grow: {lengths:?}");
    assert!(
        lengths.iter().filter(|s| **s >= 10.0).count() <= 24,
        "long trials are few: {lengths:?}"
    );
    assert!(device.seconds < 500.0, "{}", device.seconds);
}

#[test]
fn every_trial_is_told_and_wrong_searches_are_refused() {
    let mut told = Vec::new();
    let mut device = Device::of(1e6);
    rfc2544(RANGE)
        .run(&mut device, |load, _, outcome| told.push((load, *outcome)))
        .unwrap();
    assert_eq!(told, device.trials);
    let said = |search: mlrsearch::Search| search.run(&mut Device::of(1.0), |_, _, _| {}).unwrap_err().to_string();
    let with = |goal: Goal| mlrsearch::Search {
        range: RANGE,
        goals: vec![goal],
    };
    assert!(
        said(with(Goal {
            loss_ratio: 1.0,
            ..goal("a", 0.0)
        }))
        .contains("goal a: loss=1")
    );
    assert!(
        said(with(Goal {
            exceed_ratio: -0.1,
            ..goal("a", 0.0)
        }))
        .contains("exceed=-0.1")
    );
    assert!(
        said(with(Goal {
            width: 0.0,
            ..goal("a", 0.0)
        }))
        .contains("width=0")
    );
    assert!(
        said(with(Goal {
            sum: SECOND / 2,
            ..goal("a", 0.0)
        }))
        .contains("in all")
    );
    assert!(
        said(mlrsearch::Search {
            range: RANGE,
            goals: vec![]
        })
        .contains("--goal")
    );
    let backwards = Range { min: 5.0, max: 5.0 };
    let err = rfc2544(backwards)
        .run(&mut Device::of(1.0), |_, _, _| {})
        .unwrap_err()
        .to_string();
    assert!(err.contains("--min-rate < --max-rate"), "{err}");
}
