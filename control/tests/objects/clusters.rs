//! Scenario files that an API server plays to a node: what is done step by step, and the tables that must come out. What follows
//! `== in any order` is done in every order, each with a server, a follower and a compiler of its own, and each must end in the same tables.
//! `SLUICE_REGENERATE=1` writes the tables anew, to be reviewed as a difference.
//!
//! `== apply` is followed by YAML, `== delete PLURAL [NAMESPACE/]NAME` stands alone; in `== in any order` both begin with `--`.
//! `== away` and `== back` take the API server away, `== forget` makes it forget its history, `== attach POD ADDR..` and `== detach POD` are about
//! ports; `== expect TABLE` is followed by the table.

use crate::render;
use crate::wanted::{KINDS, names_pods, wanted};
use crate::world::World;
use sluice_apiserver::{Server, Settings};
use sluice_control::model::{Change, Key, Object};
use sluice_control::objects::decode;
use sluice_control::source::{Cluster, Event, Kubernetes};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server, and a node that follows it.
struct Played {
    world: World,
    server: Server,
    source: Kubernetes,
    seen: BTreeMap<Key, Object>,
    away: bool,
    folder: PathBuf,
}

impl Played {
    fn new() -> Self {
        let server = Server::start(Settings::default()).unwrap();
        let folder = std::env::temp_dir().join(format!(
            "sluice-scenario-{}-{:x}",
            std::process::id(),
            fastrand::u64(..)
        ));
        std::fs::create_dir(&folder).unwrap();
        let kubeconfig = folder.join("kubeconfig");
        std::fs::write(&kubeconfig, server.kubeconfig(None)).unwrap();
        let source = Kubernetes::follow(Cluster {
            kubeconfig: Some(kubeconfig),
            servers: Vec::new(),
            node: "node-a".to_owned(),
            state: None,
            silence: Cluster::SILENCE,
        });
        Self {
            world: World::new(),
            server,
            source: source.unwrap(),
            seen: BTreeMap::new(),
            away: false,
            folder,
        }
    }

    /// One step of a file, and what it gives to read.
    fn step(&mut self, command: &str, body: &str) -> Option<String> {
        match command.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["apply"] => {
                self.server.apply_yaml(body).unwrap();
            }
            ["delete", plural, name] => {
                let (namespace, name) = name.split_once('/').map_or((None, *name), |(a, b)| (Some(a), b));
                assert!(
                    self.server.delete(plural, namespace, name),
                    "there is no {name} of {plural}"
                );
            }
            ["away"] => {
                self.away = true;
                self.server.lines().refuse(true);
                self.server.lines().close_all();
            }
            ["forget"] => self.server.compact(),
            ["back"] => {
                self.server.lines().refuse(false);
                self.away = false;
            }
            ["attach", pod, addrs @ ..] => self.world.attach(pod, addrs),
            ["detach", pod] => self.world.pods.retain(|p| p.pod != *pod),
            ["expect", table] => return Some(render::section(table, &mut self.world)),
            other => panic!("no such step: {other:?}"),
        }
        self.catch_up();
        // What was compiled before is gone on from.
        let _ = self.world.compile();
        None
    }

    /// Until what is known is what there is.
    fn catch_up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.away {
            while let Some(event) = self.source.try_next() {
                self.take(event);
            }
            let truth = self.truth();
            if self.world.store.synced() && self.seen == truth {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "not within {PATIENCE:?}: {:?} instead of {truth:?}",
                self.seen
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Change(change) => {
                match &change {
                    Change::Upsert(object) => _ = self.seen.insert(object.key(), object.clone()),
                    Change::Delete(key) => _ = self.seen.remove(key),
                    Change::Synced => {}
                }
                self.world.store.apply(change);
            }
            Event::Problem(problem) => self
                .world
                .problems
                .entry(problem.origin.clone())
                .or_default()
                .push(problem),
            Event::Solved { origin } => _ = self.world.problems.remove(&origin),
            Event::Ignored { .. } => panic!("only files are told to hold more"),
        }
    }

    /// What the server has, and the node should know.
    fn truth(&self) -> BTreeMap<Key, Object> {
        let policies = self.server.objects("networkpolicies");
        let others = policies.iter().any(|policy| names_pods(policy));
        let mut all = BTreeMap::new();
        for (plural, kind) in KINDS {
            for object in self.server.objects(plural) {
                let wanted = wanted(kind, &object, "node-a", others);
                let object = decode(kind, (*object).clone()).object.filter(|_| wanted);
                all.extend(object.map(|object| (object.key(), object)));
            }
        }
        all
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Command and body.
type Section<'t> = (&'t str, &'t str);

fn sections<'t>(text: &'t str, mark: &str) -> Vec<Section<'t>> {
    let parts = text.split(mark).skip(1);
    parts.map(|part| part.split_once('\n').unwrap_or((part, ""))).collect()
}

/// Every order of so many.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for order in orders(count - 1) {
        for at in 0..=order.len() {
            let mut order = order.clone();
            order.insert(at, count - 1);
            all.push(order);
        }
    }
    all
}

/// The file as it is when it is right: played with each of its steps of any order at the place that `order` says.
fn play(text: &str, order: &[usize]) -> String {
    let mut played = Played::new();
    let mut out = text.split("\n== ").next().unwrap_or_default().trim_end().to_owned();
    out.push('\n');
    for (command, body) in sections(text, "\n== ") {
        out.push_str(&format!("\n== {command}\n"));
        if command == "in any order" {
            let steps = sections(body, "-- ");
            for at in order {
                played.step(steps[*at].0, steps[*at].1);
            }
        } else if let Some(table) = played.step(command, body) {
            out.push_str(&table);
            continue;
        }
        if !body.trim().is_empty() {
            out.push_str(body.trim_end());
            out.push('\n');
        }
    }
    out
}

fn every_order(file: &Path, regenerate: bool) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let free = sections(&text, "\n== ")
        .into_iter()
        .find(|(command, _)| *command == "in any order");
    let count = free.map_or(0, |(_, body)| sections(body, "-- ").len());
    assert!(count <= 4, "{}: {count} steps have too many orders", file.display());
    let mut wrong = Vec::new();
    let mut want = text.clone();
    for (n, order) in orders(count).iter().enumerate() {
        let played = play(&text, order);
        if regenerate && n == 0 {
            std::fs::write(file, &played).unwrap();
            want.clone_from(&played);
        }
        if played != want {
            let at = played.lines().zip(want.lines()).position(|(a, b)| a != b).unwrap_or(0);
            wrong.push(format!(
                "{} line {}, in the order {order:?}:\n  got  {:?}\n  want {:?}",
                file.display(),
                at + 1,
                played.lines().nth(at),
                want.lines().nth(at)
            ));
        }
    }
    wrong
}

#[test]
fn what_an_api_server_says_gives_the_expected_tables_in_every_order() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster-scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "scenarios are missing in {}", dir.display());
    let regenerate = std::env::var_os("SLUICE_REGENERATE").is_some();
    let wrong: Vec<String> = std::thread::scope(|threads| {
        let played: Vec<_> = files
            .iter()
            .map(|file| threads.spawn(move || every_order(file, regenerate)))
            .collect();
        played.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(
        wrong.is_empty(),
        "{}\nSLUICE_REGENERATE=1 rewrites them",
        wrong.join("\n")
    );
}

#[test]
fn orders_are_all_there_are() {
    let all = orders(4);
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), different.len()), (24, 24));
}
