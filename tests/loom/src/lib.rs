//! The engine's connection table once more, over types that a model checker follows: every interleaving of two threads, and every
//! value that a load may see. It never tests what one thread does; the engine's own tests do.
//!
//! The table's sources name all that passes between threads `crate::sync`, and this crate has another one of that name. So the same
//! sources are checked without a configuration flag that would build the whole workspace a second time.

// Models use some of the table only.
#[allow(dead_code, unused_imports, unreachable_pub, missing_docs)]
#[path = "../../../dataplane/engine/src/connection/mod.rs"]
mod connection;
mod sync;

#[cfg(test)]
mod ageing;
#[cfg(test)]
mod creation;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod model;
