//! Decides whether the workspace keeps its own rules: who may depend on whom, where `unsafe` lives, how long a file may
//! be, and that every promise names a test; and whether the API takes the manifests as they are written. It never looks at what the code does.

pub mod manifests;
pub mod rooms;
pub mod sources;
pub mod spec;
