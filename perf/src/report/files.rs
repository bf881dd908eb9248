//! Where results are kept: `perf` below the folder that cargo builds in.

use anyhow::{Context, Result};
use serde::Serialize;
use std::fs;
use std::path::PathBuf;

/// The folder of all results; it may not be there.
pub(crate) fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    target.join("perf")
}

/// A folder in it, which is there afterwards.
pub(crate) fn folder_of(name: &str) -> Result<PathBuf> {
    let folder = folder().join(name);
    fs::create_dir_all(&folder).with_context(|| {
        format!(
            "{}: the folder for results cannot be made; is its parent yours?",
            folder.display()
        )
    })?;
    Ok(folder)
}

/// Writes a result as JSON for people and programs.
pub(crate) fn write(name: &str, value: &impl Serialize) -> Result<()> {
    let path = folder_of("")?.join(name);
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(&path, text)
        .with_context(|| format!("{}: results cannot be written; is the folder yours?", path.display()))
}
