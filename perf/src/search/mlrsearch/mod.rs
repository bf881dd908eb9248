//! MLRsearch (RFC 9971): several loss ratios in one search, with short trials where long ones would be wasted. Decides which load is tried
//! next, and when each goal has its bounds. It never forgets a trial: each counts for every goal.
//!
//! Trials grow in phases, from each goal's initial duration to its last one, while the bounds' distance shrinks to its width; a phase begins
//! at the bounds of the one before, and a goal at what others found.

mod classify;

pub(crate) use classify::Goal;

use super::{Outcome, Range, Trial};
use anyhow::{Result, bail, ensure};
use classify::Class;
use std::collections::BTreeMap;
use std::time::Duration;

/// Phases of a goal whose trials grow.
const PHASES: u32 = 3;
/// Trials after which a search that does not end is ended.
const MOST_TRIALS: u32 = 10_000;

/// How to search.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) range: Range,
    pub(crate) goals: Vec<Goal>,
}

/// What was found for one goal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) goal: String,
    /// Relevant lower bound: the highest load, below the upper bound, at which the goal holds; `None` when it holds nowhere.
    pub(crate) lower: Option<f64>,
    /// Relevant upper bound: the lowest load at which it does not; `None` when it holds even at the highest.
    pub(crate) upper: Option<f64>,
    /// Conditional throughput: what arrives at the lower bound.
    pub(crate) throughput: Option<f64>,
}

/// All trials so far, by load; loads are whole packets a second.
#[derive(Default)]
struct Book(BTreeMap<u64, Vec<Outcome>>);

/// Where a goal's throughput lies, so far.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    lower: Option<u64>,
    upper: Option<u64>,
}

impl Book {
    fn class(&self, goal: &Goal, load: u64) -> Class {
        goal.classify(self.0.get(&load).map_or(&[], Vec::as_slice))
    }

    /// The lowest upper bound, and the highest lower one below it.
    fn bounds(&self, goal: &Goal) -> Bounds {
        let mut bounds = Bounds::default();
        for &load in self.0.keys() {
            match self.class(goal, load) {
                Class::Lower => bounds.lower = Some(load),
                Class::Undecided => {}
                Class::Upper => {
                    bounds.upper = Some(load);
                    break;
                }
            }
        }
        bounds
    }
}

impl Search {
    /// Runs trials until every goal has its bounds. `tell` hears of each.
    pub(crate) fn run(
        &self,
        device: &mut dyn Trial,
        mut tell: impl FnMut(f64, Duration, &Outcome),
    ) -> Result<Vec<Found>> {
        self.check()?;
        let mut book = Book::default();
        let mut trials = 0;
        let mut measure = |book: &mut Book, load: u64, duration: Duration| -> Result<Outcome> {
            trials += 1;
            if trials > MOST_TRIALS {
                bail!("no end after {MOST_TRIALS} trials: results differ too much; want longer trials or a wider goal");
            }
            let outcome = device.run(load as f64, duration)?;
            tell(load as f64, duration, &outcome);
            book.0.entry(load).or_default().push(outcome);
            Ok(outcome)
        };
        let (min, max) = (self.range.min.ceil() as u64, self.range.max.floor() as u64);
        let first = self.goals.iter().map(|goal| goal.initial).min().unwrap_or_default();
        let outcome = measure(&mut book, max, first)?;
        // What arrived at the highest load is a first guess for all goals.
        let guess = ((max as f64 * (1.0 - outcome.loss_ratio())) as u64).clamp(min, max);
        let mut near = vec![
            Bounds {
                lower: Some(guess),
                upper: None
            };
            self.goals.len()
        ];
        for phase in 0..PHASES {
            for (goal, near) in self.goals.iter().zip(&mut near) {
                let target = phase_of(goal, phase);
                let mut step = target.width;
                while let Some(load) = next(&book, &target, near, (min, max), &mut step) {
                    let mut class = Class::Undecided;
                    while class == Class::Undecided {
                        measure(&mut book, load, target.last)?;
                        class = book.class(&target, load);
                    }
                }
                *near = book.bounds(&target);
            }
        }
        Ok(self.goals.iter().map(|goal| found(&book, goal)).collect())
    }

    fn check(&self) -> Result<()> {
        self.range.check()?;
        ensure!(
            self.range.min.ceil() < self.range.max.floor(),
            "--min-rate and --max-rate have no whole number of packets between them"
        );
        ensure!(!self.goals.is_empty(), "no goal to search for (--goal)");
        for goal in &self.goals {
            let name = &goal.name;
            ensure!(
                (0.0..1.0).contains(&goal.loss_ratio),
                "goal {name}: loss={}; want 0 or more, and less than 1",
                goal.loss_ratio
            );
            ensure!(
                (0.0..1.0).contains(&goal.exceed_ratio),
                "goal {name}: exceed={}; want 0 or more, and less than 1",
                goal.exceed_ratio
            );
            ensure!(
                goal.width > 0.0 && goal.width < 1.0,
                "goal {name}: width={}; want more than 0 and less than 1",
                goal.width
            );
            ensure!(
                !goal.initial.is_zero() && goal.initial <= goal.last && goal.last <= goal.sum,
                "goal {name}: trials begin with {:?} and end with {:?}, {:?} in all; want each at least as long as the one before",
                goal.initial,
                goal.last,
                goal.sum
            );
        }
        Ok(())
    }
}

/// What a phase wants of a goal: durations grow to its own by equal factors, the width halves from phase to phase.
fn phase_of(goal: &Goal, phase: u32) -> Goal {
    let share = f64::from(phase) / f64::from(PHASES - 1);
    let between = |from: Duration, to: Duration| {
        let factor = (to.as_secs_f64() / from.as_secs_f64()).powf(share);
        // The last phase's are the goal's own to the last digit.
        if phase == PHASES - 1 { to } else { from.mul_f64(factor) }
    };
    Goal {
        last: between(goal.initial, goal.last),
        sum: between(goal.initial, goal.sum),
        width: (goal.width * f64::from(1 << (PHASES - 1 - phase))).min(0.5),
        ..goal.clone()
    }
}

/// The load to try next; `None` when the goal has its bounds, or there cannot be any.
fn next(book: &Book, goal: &Goal, near: &Bounds, (min, max): (u64, u64), step: &mut f64) -> Option<u64> {
    let Bounds { lower, upper } = book.bounds(goal);
    let undecided = |load: &u64| {
        (min..=max).contains(load)
            && upper.is_none_or(|upper| *load < upper)
            && lower.is_none_or(|lower| *load > lower)
            && book.class(goal, *load) == Class::Undecided
    };
    // What bounded the search before probably does again.
    if let Some(load) = [near.lower, near.upper].into_iter().flatten().find(undecided) {
        return Some(load);
    }
    match (lower, upper) {
        (Some(lower), Some(upper)) => {
            let middle = ((lower as f64 * upper as f64).sqrt() as u64).clamp(lower, upper);
            let narrow = (upper - lower) as f64 <= goal.width * upper as f64;
            (!narrow && middle > lower && middle < upper).then_some(middle)
        }
        // Steps grow until the other bound is found.
        (None, Some(upper)) => {
            let load = ((upper as f64 * (1.0 - *step)) as u64).max(min);
            *step = (*step * 2.0).min(0.5);
            (load < upper).then_some(load)
        }
        (Some(lower), None) => {
            let load = ((lower as f64 / (1.0 - *step)).ceil() as u64).min(max);
            *step = (*step * 2.0).min(0.5);
            (load > lower).then_some(load)
        }
        (None, None) => Some(max),
    }
}

fn found(book: &Book, goal: &Goal) -> Found {
    let bounds = book.bounds(goal);
    let throughput = bounds.lower.and_then(|load| {
        let trials = book.0.get(&load)?;
        Some(goal.conditional_throughput(load as f64, trials))
    });
    Found {
        goal: goal.name.clone(),
        lower: bounds.lower.map(|load| load as f64),
        upper: bounds.upper.map(|load| load as f64),
        throughput,
    }
}
