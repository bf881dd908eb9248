//! Decides how a run is measured, and whether its figures count: a run whose frames or counters are not exactly as they must be is an error.

mod count;
mod egress;
mod feed;
mod memory;
mod node;
mod prepare;
mod run;
pub(crate) mod speed;
mod testpmd;
#[cfg(test)]
mod tests;
pub(crate) mod time;
mod timed;

pub(crate) use count::{PATH, count};
pub(crate) use memory::{Memory, memory};
pub(crate) use run::{Amount, Figures, run};
pub(crate) use testpmd::testpmd_ns;
