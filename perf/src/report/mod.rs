//! Decides how figures reach people and programs. It never changes one.

pub(crate) mod files;
mod machine;
mod paint;
mod progress;
pub(crate) mod summary;

pub(crate) use machine::{Machine, process_bytes, process_peak};
pub(crate) use paint::{Paint, bar, exact, human, time};
pub(crate) use progress::Progress;
