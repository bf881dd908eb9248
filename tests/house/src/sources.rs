//! Rules that the text of manifests and sources shows: where `unsafe` may live, and how long a file may be. It never
//! parses Rust.

use std::fs;
use std::path::{Path, PathBuf};

/// The longest file that is excusable, in lines.
pub const MAX_LINES: usize = 600;

/// Folders whose crates may hold `unsafe`; everywhere else the compiler forbids it.
pub const UNSAFE_HOMES: &[&str] = &["dataplane/io", "dataplane/mem"];

/// Sources below `root`, without what was built and what is hidden.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if kind.is_file() && [".rs", ".c", ".h", ".sh"].iter().any(|end| name.ends_with(end)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Files longer than [`MAX_LINES`], one line each.
pub fn too_long(files: &[PathBuf]) -> Vec<String> {
    let long = |path: &PathBuf| {
        let lines = fs::read_to_string(path).unwrap_or_default().lines().count();
        (lines > MAX_LINES).then(|| format!("{} has {lines} lines, {MAX_LINES} are the limit", path.display()))
    };
    files.iter().filter_map(long).collect()
}

/// What is wrong with the lints of the crate whose Cargo.toml holds `text`; `home` if it may hold `unsafe`.
pub fn lints_violation(text: &str, home: bool) -> Option<&'static str> {
    let inherits = value(text, "[lints]", "workspace") == Some("true");
    let level = value(text, "[lints.rust]", "unsafe_code");
    let documented = value(text, "[lints.clippy]", "undocumented_unsafe_blocks") == Some("deny");
    match (home, inherits, level) {
        (false, true, None) | (_, false, Some("forbid")) => None,
        (true, true, None) => None,
        (true, false, Some("allow")) if documented => None,
        (true, false, Some("allow")) => Some("allows unsafe_code without denying undocumented_unsafe_blocks"),
        (false, ..) => Some("must inherit the workspace's lints, which forbid unsafe_code"),
        (true, ..) => Some("must set unsafe_code in [lints.rust], or inherit the workspace's lints"),
    }
}

/// True if the workspace's Cargo.toml forbids `unsafe_code`.
pub fn workspace_forbids_unsafe(text: &str) -> bool {
    value(text, "[workspace.lints.rust]", "unsafe_code") == Some("forbid")
}

/// The value of `key` in the section `head` of a Cargo.toml, without quotes. Enough for the lints' plain keys.
fn value<'t>(text: &'t str, head: &str, key: &str) -> Option<&'t str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| *line == head)?;
    let section = lines.take_while(|line| !line.starts_with('['));
    let mut pairs = section.filter_map(|line| line.split_once('='));
    let (_, value) = pairs.find(|(k, _)| k.trim() == key)?;
    Some(value.split('#').next().unwrap_or_default().trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lints_are_inherited_or_the_crate_is_a_home_of_unsafe() {
        let inherits = "[package]\nname = \"x\"\n[lints]\nworkspace = true\n";
        let allows =
            "[lints.rust]\nunsafe_code = \"allow\" # why\n[lints.clippy]\nundocumented_unsafe_blocks = \"deny\"\n";
        assert_eq!(lints_violation(inherits, false), None);
        assert_eq!(lints_violation(inherits, true), None);
        assert_eq!(lints_violation(allows, true), None);
        assert!(lints_violation(allows, false).is_some());
        assert!(lints_violation("[package]\n", false).is_some());
        assert!(lints_violation("[lints.rust]\nunsafe_code = \"allow\"\n", true).is_some());
        assert!(lints_violation("[package]\nworkspace = true\n[lints]\n", false).is_some());
    }

    #[test]
    fn a_workspace_that_only_warns_is_noticed() {
        assert!(workspace_forbids_unsafe(
            "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"
        ));
        assert!(!workspace_forbids_unsafe(
            "[workspace.lints.rust]\nunsafe_code = \"warn\"\n"
        ));
        assert!(!workspace_forbids_unsafe("[lints.rust]\nunsafe_code = \"forbid\"\n"));
    }
}
