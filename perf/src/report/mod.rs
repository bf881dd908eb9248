//! Decides how figures reach people and programs. It never changes one.

mod machine;
mod paint;
mod progress;
pub(crate) mod summary;

pub(crate) use machine::Machine;
pub(crate) use paint::{Paint, bar, exact};
pub(crate) use progress::Progress;
