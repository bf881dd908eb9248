//! Decides what is in force for an object that came with faults: it, the version before, or nothing. It never looks for the faults.

use crate::objects::Fault;

/// What is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// What came; whole if nothing had to be left out.
    New { whole: bool },
    /// What was in force before.
    Before,
    /// Nothing of it.
    Nothing,
}

/// `usable`: it can be served, perhaps without faulty parts. `before`: whether the version before was whole, if there was one.
pub(super) fn choose(usable: bool, faultless: bool, before: Option<bool>) -> Choice {
    match (usable, faultless) {
        (true, true) => Choice::New { whole: true },
        (true, false) if before == Some(true) => Choice::Before,
        (true, false) => Choice::New { whole: false },
        (false, true) => Choice::Nothing,
        (false, false) if before.is_some() => Choice::Before,
        (false, false) => Choice::Nothing,
    }
}

/// A fault's text with what follows from it.
pub(super) fn told(fault: &Fault, usable: bool, before: Option<bool>) -> String {
    let follows = match (choose(usable, false, before), fault.left_out) {
        (Choice::New { .. }, Some(left_out)) => left_out,
        (Choice::Before, _) => "the last good version stays in force",
        (Choice::New { .. } | Choice::Nothing, _) => "the object is not served until this is mended",
    };
    format!("{}; {follows}", fault.text)
}
