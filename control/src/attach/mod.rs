//! Decides which pods are attached: checks requests, keeps the list over restarts, notices namespaces that are gone.
//! It never touches an interface.

mod file;
mod list;
mod request;
#[cfg(test)]
mod tests;

pub use file::{load, save, write_atomically};
pub use list::{Attachment, Attachments, Decision};
pub use request::{Wanted, check};
