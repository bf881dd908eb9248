//! Which crate may depend on which: the table of rooms, and the comparison with what cargo says. It never reads sources.

use cargo_metadata::{DependencyKind, Metadata, PackageId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What one crate may name under `[dependencies]`.
pub struct Room {
    /// Name of the package.
    pub package: &'static str,
    /// Crates of this workspace, all that are allowed.
    pub inside: &'static [&'static str],
    /// Crates from elsewhere.
    pub outside: Outside,
}

/// Crates from elsewhere that a room may use.
pub enum Outside {
    /// These and no others, and nothing of [`HEAVY`] behind them either.
    Only(&'static [&'static str]),
    /// Whatever serves.
    Any,
}

/// The rooms of the house. A new crate needs a line here.
pub const ROOMS: &[Room] = &[
    room("sluice-wire", &[], Outside::Only(&["arrayvec"])),
    room("sluice-mem", &[], Outside::Only(&["crossbeam", "libc"])),
    room("sluice-vxlan", &["sluice-wire"], Outside::Only(&["arrayvec"])),
    room(
        "sluice-lb",
        &["sluice-wire"],
        Outside::Only(&["arrayvec", "foldhash", "hashbrown"]),
    ),
    room(
        "sluice-policy",
        &["sluice-wire"],
        Outside::Only(&["arrayvec", "foldhash", "hashbrown", "prefix-trie"]),
    ),
    room(
        "sluice-snapshot",
        &["sluice-wire", "sluice-vxlan", "sluice-lb", "sluice-policy"],
        Outside::Only(&["arc-swap", "arrayvec", "foldhash", "hashbrown", "ipnet", "prefix-trie"]),
    ),
    room(
        "sluice-engine",
        &[
            "sluice-wire",
            "sluice-mem",
            "sluice-vxlan",
            "sluice-lb",
            "sluice-policy",
            "sluice-snapshot",
        ],
        Outside::Only(&["arrayvec", "foldhash", "hashbrown"]),
    ),
    room(
        "sluice-io",
        &["sluice-wire", "sluice-mem"],
        Outside::Only(&[
            "arrayvec",
            "aya",
            "crossbeam",
            "libc",
            "libxdp-sys",
            "nix",
            "pcap-file",
            "thiserror",
            "tracing",
        ]),
    ),
    room(
        "sluice-control",
        &[
            "sluice-wire",
            "sluice-vxlan",
            "sluice-lb",
            "sluice-policy",
            "sluice-snapshot",
        ],
        Outside::Any,
    ),
    room("sluice-sriov", &[], Outside::Any),
    room(
        "sluice",
        &[
            "sluice-wire",
            "sluice-mem",
            "sluice-vxlan",
            "sluice-lb",
            "sluice-policy",
            "sluice-snapshot",
            "sluice-engine",
            "sluice-io",
            "sluice-control",
            "sluice-sriov",
        ],
        Outside::Any,
    ),
    room("sluice-apiserver", &[], Outside::Any),
    room("sluice-lab", &["sluice-apiserver"], Outside::Any),
    room("sluice-house", &[], Outside::Any),
    room("sluice-loom", &["sluice-wire", "sluice-lb", "sluice-mem"], Outside::Any),
    room(
        "sluice-fuzz",
        &[
            "sluice-wire",
            "sluice-mem",
            "sluice-vxlan",
            "sluice-lb",
            "sluice-policy",
            "sluice-snapshot",
            "sluice-engine",
            "sluice-io",
            "sluice-control",
        ],
        Outside::Any,
    ),
];

/// Runtimes, clients and kernel interfaces: nothing that decides about packets may reach one, at any distance.
pub const HEAVY: &[&str] = &[
    "tokio",
    "async-std",
    "smol",
    "mio",
    "hyper",
    "reqwest",
    "tonic",
    "kube",
    "kube-client",
    "k8s-openapi",
    "etcd-client",
    "rtnetlink",
    "netlink-packet-core",
    "netlink-packet-route",
    "nix",
    "aya",
    "libxdp-sys",
    "xsk-rs",
    "tracing-subscriber",
];

/// Rooms in which no [`HEAVY`] crate may be reached.
pub const LIGHT: &[&str] = &[
    "sluice-wire",
    "sluice-mem",
    "sluice-vxlan",
    "sluice-lb",
    "sluice-policy",
    "sluice-snapshot",
    "sluice-engine",
];

const fn room(package: &'static str, inside: &'static [&'static str], outside: Outside) -> Room {
    Room {
        package,
        inside,
        outside,
    }
}

/// The benchmarks: they may depend on anything, and nothing on them, not even for tests.
pub const PERF: &str = "sluice-perf";

/// What contradicts the table `rooms`, one line each; empty if nothing does.
pub fn violations(metadata: &Metadata, rooms: &[Room]) -> Vec<String> {
    let mut found = Vec::new();
    let members: BTreeSet<&str> = metadata.workspace_packages().iter().map(|p| p.name.as_str()).collect();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        if name == PERF {
            continue;
        }
        let mut others = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Normal);
        if others.any(|d| d.name == PERF) {
            found.push(format!("{name} must not depend on {PERF}, not even for tests"));
        }
        let Some(room) = rooms.iter().find(|room| room.package == name) else {
            found.push(format!(
                "{name} has no line in the table of rooms (tests/house/src/rooms.rs)"
            ));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
            let other = dependency.name.as_str();
            let allowed = match (members.contains(other), &room.outside) {
                (true, _) => room.inside.contains(&other),
                (false, Outside::Only(list)) => list.contains(&other),
                (false, Outside::Any) => true,
            };
            if !allowed {
                found.push(format!("{name} must not depend on {other}"));
            }
        }
    }
    found
}

/// Paths from a crate in `light` to a heavy crate over normal dependencies, each as `a -> b -> c`.
pub fn heavy_reached(metadata: &Metadata, light: &[&str]) -> Vec<String> {
    let Some(resolve) = &metadata.resolve else {
        return vec!["cargo metadata came without a resolved graph".into()];
    };
    let names: BTreeMap<&PackageId, &str> = metadata.packages.iter().map(|p| (&p.id, p.name.as_str())).collect();
    let normal: BTreeMap<&PackageId, Vec<&PackageId>> = resolve
        .nodes
        .iter()
        .map(|node| {
            let deps = node
                .deps
                .iter()
                .filter(|d| d.dep_kinds.iter().any(|k| k.kind == DependencyKind::Normal));
            (&node.id, deps.map(|d| &d.pkg).collect())
        })
        .collect();
    let mut found = Vec::new();
    for start in metadata.packages.iter().filter(|p| light.contains(&p.name.as_str())) {
        let mut seen = BTreeSet::from([&start.id]);
        let mut queue = VecDeque::from([(&start.id, start.name.to_string())]);
        while let Some((id, path)) = queue.pop_front() {
            for next in normal.get(id).into_iter().flatten() {
                if !seen.insert(next) {
                    continue;
                }
                let name = names.get(next).copied().unwrap_or("?");
                let path = format!("{path} -> {name}");
                if HEAVY.contains(&name) {
                    found.push(format!("{} must not reach {name}: {path}", start.name));
                } else {
                    queue.push_back((next, path));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directions as the design draws them: a room's own dependencies come before it.
    #[test]
    fn the_table_has_no_circle() {
        let mut placed: Vec<&str> = Vec::new();
        let mut left: Vec<&Room> = ROOMS.iter().collect();
        while !left.is_empty() {
            let before = left.len();
            left.retain(|room| {
                let ready = room.inside.iter().all(|dep| placed.contains(dep));
                if ready {
                    placed.push(room.package);
                }
                !ready
            });
            assert!(
                left.len() < before,
                "a circle among {:?}",
                left.iter().map(|r| r.package).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn engine_io_and_control_do_not_know_each_other() {
        let inside = |name| ROOMS.iter().find(|r| r.package == name).unwrap().inside;
        for (a, b) in [
            ("sluice-engine", "sluice-io"),
            ("sluice-engine", "sluice-control"),
            ("sluice-io", "sluice-control"),
        ] {
            assert!(!inside(a).contains(&b) && !inside(b).contains(&a), "{a} and {b}");
        }
        for last in ["sluice-lab", PERF] {
            assert!(ROOMS.iter().all(|room| !room.inside.contains(&last)), "{last}");
        }
    }
}
