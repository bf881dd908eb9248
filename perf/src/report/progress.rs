//! How far it is, on one line of a terminal; nothing anywhere else.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr};
use std::time::Instant;

pub(crate) struct Progress {
    steps: usize,
    done: usize,
    began: Instant,
    shown: bool,
}

impl Progress {
    pub(crate) fn new(steps: usize) -> Self {
        Self {
            steps,
            done: 0,
            began: Instant::now(),
            shown: stderr().is_terminal(),
        }
    }

    /// The next step begins.
    pub(crate) fn step(&mut self, what: impl Display) {
        if self.shown {
            let left = match self.done {
                0 => String::new(),
                done => {
                    let left = self.began.elapsed().as_secs_f64() / done as f64 * (self.steps - done) as f64;
                    format!(", {left:.0} s left")
                }
            };
            // A terminal that is gone is no reason to stop.
            let _ = write!(stderr(), "\r\u{1b}[K{} of {}{left}: {what}", self.done + 1, self.steps);
        }
        self.done += 1;
    }

    /// What the step that is under way is at.
    pub(crate) fn say(&mut self, what: impl Display) {
        if self.shown {
            let _ = write!(stderr(), "\r\u{1b}[K{what}");
        }
    }

    /// Clears the line.
    pub(crate) fn end(self) {
        if self.shown {
            let _ = write!(stderr(), "\r\u{1b}[K");
        }
    }
}
