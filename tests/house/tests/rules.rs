//! The rules of the house, held against the workspace as it is.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use sluice_house::{rooms, sources, spec};
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

fn metadata() -> &'static Metadata {
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    METADATA.get_or_init(|| {
        let offline = ["--offline".to_string(), "--locked".to_string()];
        let exact = MetadataCommand::new()
            .manifest_path(manifest)
            .other_options(offline)
            .exec();
        exact
            .or_else(|_| MetadataCommand::new().manifest_path(manifest).exec())
            .expect("cargo metadata works here")
    })
}

fn root() -> PathBuf {
    metadata().workspace_root.clone().into()
}

/// The workspace's crates with their folders.
fn packages() -> Vec<(String, PathBuf)> {
    let folder = |p: &cargo_metadata::Package| PathBuf::from(p.manifest_path.parent().unwrap());
    let packages = metadata().workspace_packages();
    packages.iter().map(|p| (p.name.to_string(), folder(p))).collect()
}

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn crates_depend_in_the_directions_of_the_design() {
    none(
        "dependencies against the design",
        &rooms::violations(metadata(), rooms::ROOMS),
    );
    none(
        "what decides about packets reaches further",
        &rooms::heavy_reached(metadata(), rooms::LIGHT),
    );
}

#[test]
fn the_check_of_dependencies_can_fail() {
    let heavy = rooms::heavy_reached(metadata(), &["sluice-control"]);
    assert!(
        heavy
            .iter()
            .any(|line| line.contains("must not reach tokio: sluice-control -> tokio")),
        "{heavy:?}"
    );
    let closed = rooms::Room {
        package: "sluice-lb",
        inside: &[],
        outside: rooms::Outside::Only(&[]),
    };
    let found = rooms::violations(metadata(), &[closed]);
    assert!(
        found
            .iter()
            .any(|line| line == "sluice-lb must not depend on sluice-wire"),
        "{found:?}"
    );
    assert!(
        found.iter().any(|line| line.starts_with("sluice-wire has no line")),
        "{found:?}"
    );
}

#[test]
fn nothing_may_depend_on_the_benchmarks_not_even_a_test() {
    for kind in [
        DependencyKind::Normal,
        DependencyKind::Development,
        DependencyKind::Build,
    ] {
        let mut spoilt = metadata().clone();
        let perf = spoilt
            .packages
            .iter()
            .find(|p| p.name == rooms::PERF)
            .expect("perf is a member");
        let mut dependency = perf.dependencies[0].clone();
        (dependency.name, dependency.kind) = (rooms::PERF.into(), kind);
        let engine = spoilt.packages.iter_mut().find(|p| p.name == "sluice-engine");
        engine.unwrap().dependencies.push(dependency);
        let found = rooms::violations(&spoilt, rooms::ROOMS);
        assert_eq!(found.len(), 1, "{kind:?}: {found:?}");
        assert!(
            found[0].starts_with("sluice-engine must not depend on sluice-perf"),
            "{found:?}"
        );
    }
}

#[test]
fn unsafe_code_has_two_homes() {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(
        sources::workspace_forbids_unsafe(&text),
        "the workspace's lints must forbid unsafe_code"
    );
    let mut found = Vec::new();
    for package in metadata().workspace_packages() {
        let text = fs::read_to_string(&package.manifest_path).unwrap();
        let folder = package.manifest_path.parent().unwrap();
        let home = sources::UNSAFE_HOMES
            .iter()
            .any(|home| folder == metadata().workspace_root.join(home));
        found.extend(sources::lints_violation(&text, home).map(|why| format!("{} {why}", package.manifest_path)));
    }
    none("lints", &found);
}

#[test]
fn no_file_is_too_long() {
    let files = sources::files(&root());
    assert!(files.len() > 50, "only {} sources were found", files.len());
    none("files too long to read", &sources::too_long(&files));
}

#[test]
fn every_promise_names_tests_that_are_there() {
    let text = fs::read_to_string(root().join("SPEC.md")).expect("SPEC.md is at the root");
    let promises = spec::promises(&text);
    assert!(
        !promises.is_empty(),
        "SPEC.md has no table with the head `| id | promise | test |`"
    );
    none(
        "promises without proof",
        &spec::violations(&promises, &packages(), &sources::files(&root())),
    );
}

/// A name that no test has would leave nothing out.
#[test]
fn what_is_left_out_of_a_run_is_there_and_has_a_reason() {
    for (list, tests) in [
        ("tests/lab/not-under-faults.txt", "lab::e2e"),
        ("tests/lab/not-from-a-cluster.txt", "lab::e2e"),
        ("control/tests/kubernetes/only-the-stand-in.txt", "control::kubernetes"),
    ] {
        none(list, &without_reason_or_test(list, tests));
    }
}

fn without_reason_or_test(list: &str, tests: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(list)).unwrap();
    let (packages, files) = (packages(), sources::files(&root()));
    let mut found = Vec::new();
    let mut reason = false;
    for line in text.lines() {
        match line.strip_prefix('#') {
            Some(_) => reason = true,
            None if line.is_empty() => reason = false,
            None if !reason => found.push(format!("{line}: without a reason above it")),
            None if !spec::exists(&format!("{tests}::{line}"), &packages, &files) => {
                found.push(format!("{line}: there is no such test"));
            }
            None => {}
        }
    }
    found
}
