//! SPEC.md's table of promises, and whether the tests it names are there. It never runs them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The first cell.
    pub id: String,
    /// Names in backticks in the last cell: `crate::path::name` or `file.rs::name`.
    pub tests: Vec<String>,
    /// The last cell says `none`: the promise is not tested, and says so.
    pub untested: bool,
}

/// Rows of every table in `text` whose head is `id | promise | test`; the cells between the first and the last are free.
pub fn promises(text: &str) -> Vec<Promise> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        let Some(cells) = cells(line) else {
            inside = false;
            continue;
        };
        let (first, last) = (cells[0].as_str(), cells[cells.len() - 1].as_str());
        if first.eq_ignore_ascii_case("id") && last.to_ascii_lowercase().starts_with("test") {
            inside = true;
        } else if inside && !first.chars().all(|c| "-: ".contains(c)) {
            let tests: Vec<String> = last
                .split('`')
                .skip(1)
                .step_by(2)
                .map(|t| t.trim().to_string())
                .collect();
            let untested = tests.is_empty() && last.to_ascii_lowercase().starts_with("none");
            rows.push(Promise {
                id: first.into(),
                tests,
                untested,
            });
        }
    }
    rows
}

/// Cells of a table row; `\|` is no border, and neither is a bar in backticks.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    let (mut cells, mut code, mut escaped) = (vec![String::new()], false, false);
    for c in inner.chars() {
        if c == '|' && !code && !escaped {
            cells.push(String::new());
            continue;
        }
        code ^= c == '`';
        escaped = c == '\\';
        if let Some(cell) = cells.last_mut() {
            cell.push(c);
        }
    }
    let cells: Vec<String> = cells.into_iter().map(|c| c.trim().to_string()).collect();
    (cells.len() >= 3).then_some(cells)
}

/// What is wrong with `promises`, one line each: an id twice, a row without a test that is not marked `none`, a test
/// that is not there. `packages` are the workspace's crates with their folders, `files` its sources.
pub fn violations(promises: &[Promise], packages: &[(String, PathBuf)], files: &[PathBuf]) -> Vec<String> {
    let mut found = Vec::new();
    let mut ids = BTreeSet::new();
    for promise in promises {
        let id = &promise.id;
        if !ids.insert(id) {
            found.push(format!("SPEC.md: {id} is there twice"));
        }
        if promise.tests.is_empty() && !promise.untested {
            found.push(format!(
                "SPEC.md: {id} names no test in backticks; write `none` and why if there is none"
            ));
        }
        let missing = promise.tests.iter().filter(|test| !exists(test, packages, files));
        found.extend(missing.map(|test| format!("SPEC.md: {id} names `{test}`, and there is no such test")));
    }
    found
}

/// Is there a test function of that name where the path says? `packages` and `files` as in [`violations`].
pub fn exists(test: &str, packages: &[(String, PathBuf)], files: &[PathBuf]) -> bool {
    let segments: Vec<&str> = test.split("::").collect();
    let [place, modules @ .., name] = &segments[..] else {
        return false;
    };
    let crate_name = |package: &str| package.replace('-', "_");
    let home = packages.iter().find(|(package, _)| {
        let package = crate_name(package);
        package == *place || package.strip_prefix("sluice_") == Some(*place)
    });
    files.iter().any(|file| {
        let here = match home {
            Some((_, folder)) => file.starts_with(folder),
            None => place.ends_with(".rs") && file.ends_with(Path::new(place)),
        };
        here && holds(file, modules, name)
    })
}

/// The file has tests, one of them called `name`, and every module of the path is a part of its own path or is opened
/// in it.
fn holds(file: &Path, modules: &[&str], name: &str) -> bool {
    let Ok(text) = fs::read_to_string(file) else {
        return false;
    };
    let in_path = |module: &str| {
        file.iter()
            .any(|part| part.to_string_lossy() == module || part.to_string_lossy() == format!("{module}.rs"))
    };
    let opened = |module: &str| text.contains(&format!("mod {module} {{")) || in_path(module);
    text.contains("#[test]") && text.contains(&format!("fn {name}(")) && modules.iter().all(|m| opened(m))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
| id | promise | test |
|---|:--|---|
| S1 | a `|` in code, an escaped \\| too | `sluice_house::spec::tests::reads_rows`, `spec.rs::finds_what_is_there` |
| S2 | nobody checks this | none: needs a NIC |
| S3 | forgotten | later |

| other | table | test |
|---|---|---|
| x | y | `z` |
";

    #[test]
    fn reads_rows() {
        let rows = promises(TEXT);
        assert_eq!(
            rows.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(),
            ["S1", "S2", "S3"]
        );
        assert_eq!(
            rows[0].tests,
            ["sluice_house::spec::tests::reads_rows", "spec.rs::finds_what_is_there"]
        );
        assert!(rows[1].untested && !rows[2].untested);
    }

    #[test]
    fn finds_what_is_there() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let files = crate::sources::files(&folder);
        let packages = [("sluice-house".to_string(), folder)];
        let there = |test: &str| exists(test, &packages, &files);
        assert!(there("sluice_house::spec::tests::reads_rows"));
        assert!(there("house::spec::tests::reads_rows"));
        assert!(there("src/spec.rs::reads_rows"));
        for absent in [
            "sluice_house::spec::tests::no_such_thing",
            "sluice_house::sources::tests::reads_rows",
            "sluice_lab::spec::tests::reads_rows",
            "pec.rs::reads_rows",
            "reads_rows",
            "",
        ] {
            assert!(!there(absent), "{absent}");
        }
    }

    #[test]
    fn complains_about_each_fault_once() {
        let mut rows = promises(TEXT);
        rows.push(rows[1].clone());
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let files = crate::sources::files(&folder);
        let faults = violations(&rows, &[("sluice-house".into(), folder)], &files);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(
            faults[0].contains("S3") && faults[1].contains("S2 is there twice"),
            "{faults:?}"
        );
    }
}
