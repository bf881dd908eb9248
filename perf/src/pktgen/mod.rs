//! `sluice-perf pktgen`: a generator and a receiver in one process. Decides how they meet: who sends what, at which pace, and what became
//! of it. It never changes what is measured, apart from a program that takes the frames of the receiving interface.

mod account;
mod bench;
mod ends;
mod flows;
mod neighbour;
mod options;
mod pace;
mod payload;
mod ranges;
mod receive;
mod replay;
mod report;
pub(crate) mod search;
mod send;
mod source;
mod stamp;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use bench::Bench;
pub(crate) use ends::{End, Ends, Wait};
pub(crate) use neighbour::macs;
pub(crate) use options::{Options, command};
pub(crate) use pace::{Pace, Until};
pub(crate) use ranges::{Addresses, Ports};
pub(crate) use report::Report;
pub(crate) use source::Source;
pub(crate) use stream::{Macs, Party, Size, Stream, Vxlan};
