//! What is said of runs holds, by the textbook and by simulation.

use super::*;
use proptest::prelude::*;
use std::cmp::Ordering;

#[test]
fn quantiles_and_intervals_are_those_of_the_textbook() {
    let values = || (1..=10).map(f64::from);
    let spread = Spread::of((1..=21).map(f64::from)).unwrap();
    assert_eq!((spread.median, spread.low, spread.high), (11.0, 2.0, 20.0));
    let spread = Spread::of(values()).unwrap();
    assert_eq!((spread.median, spread.low), (5.5, 1.45));
    assert_eq!(Spread::of([]), None);
    // Tables of the sign test: with 10 values the second and the ninth (97.9 %), with 20 the sixth and the fifteenth (95.9 %).
    assert_eq!(median_interval(values()), Some((2.0, 9.0)));
    assert_eq!(median_interval((1..=20).map(f64::from)), Some((6.0, 15.0)));
    assert_eq!(median_interval((1..=6).map(f64::from)), Some((1.0, 6.0)));
    assert_eq!(median_interval((1..=5).map(f64::from)), None);
    // 2 x 2^-9 is below 0.05 / 12, 2 x 2^-8 is not.
    assert_eq!([0.05, 0.05 / 12.0].map(values_needed), [6, 9]);
    assert_eq!(interval_within((1..=9).map(f64::from), 0.05 / 12.0), Some((1.0, 9.0)));
    assert_eq!(interval_within((1..=8).map(f64::from), 0.05 / 12.0), None);
}

/// Times as machines give them: most near the least, some far above.
fn times(random: &mut fastrand::Rng, count: usize, scale: f64) -> Vec<f64> {
    let one = |random: &mut fastrand::Rng| scale * (50.0 - 2.0 * (1.0 - random.f64()).ln());
    (0..count).map(|_| one(random)).collect()
}

#[test]
fn runs_of_the_same_thing_differ_hardly_ever_and_a_fifth_more_is_seen() {
    let mut random = fastrand::Rng::with_seed(7);
    let (mut false_alarms, mut seen, mut held) = (0, 0, 0);
    let median = 50.0 + 2.0 * 2f64.ln();
    for _ in 0..4000 {
        let a = times(&mut random, 10, 1.0);
        let b = times(&mut random, 10, 1.0);
        let slower = times(&mut random, 10, 1.2);
        false_alarms += usize::from(differs(&a, &b).is_some());
        seen += usize::from(differs(&slower, &a) == Some(Ordering::Greater));
        let (low, high) = median_interval(a).unwrap();
        held += usize::from((low..=high).contains(&median));
    }
    assert!(
        false_alarms < 40,
        "{false_alarms} of 4000 pairs of the same were called different"
    );
    assert!(seen > 3900, "a fifth more was seen in {seen} of 4000 pairs");
    assert!(held > 3800, "the interval held the median in {held} of 4000");
}

proptest! {
    #[test]
    fn nothing_is_real_that_overlaps_and_everything_that_does_not(
        a in prop::collection::vec(1f64..100.0, 0..40),
        b in prop::collection::vec(1f64..100.0, 0..40),
    ) {
        let verdict = differs(&a, &b);
        prop_assert_eq!(verdict, differs(&b, &a).map(Ordering::reverse));
        prop_assert_eq!(differs(&a, &a), None);
        if a.len() < 6 || b.len() < 6 {
            prop_assert_eq!(verdict, None);
            return Ok(());
        }
        let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
        let shifted: Vec<f64> = b.iter().map(|x| x + 200.0).collect();
        prop_assert_eq!(differs(&a, &shifted), Some(Ordering::Less));
        let (low, high) = median_interval(a.iter().copied()).unwrap();
        let median = Spread::of(a.iter().copied()).unwrap().median;
        prop_assert!(least(&a) <= low && low <= median && median <= high);
        // Order of the runs, and the unit, carry no meaning.
        let other = |values: &[f64]| values.iter().rev().map(|x| x * 8.0).collect::<Vec<_>>();
        prop_assert_eq!(differs(&other(&a), &other(&b)), verdict);
    }

    #[test]
    fn quantiles_lie_between_the_values_and_grow(values in prop::collection::vec(0f64..1e6, 1..50), at in 0f64..1.0) {
        let sorted = sorted(values);
        let q = |at| quantile(&sorted, at).unwrap();
        prop_assert!(q(0.0) == sorted[0] && q(1.0) == sorted[sorted.len() - 1]);
        prop_assert!(q(at) <= q((at + 0.1).min(1.0)));
    }
}
