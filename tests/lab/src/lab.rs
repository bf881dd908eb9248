//! A lab from its birth to its end. It never leaves anything behind: dropping it, an error half-way, a panic, an
//! interrupt and the next lab all take down what is there.

use crate::api::{ApiServer, Source};
use crate::place::{Node, Place, Pod};
use crate::plan;
use crate::process::Process;
use crate::run::locked;
use crate::state::{self, Record};
use crate::topology::{NodeKind, Server, Topology, check_name};
use crate::{agent, build, manifests, ns, servers, signals};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Time that cables and servers get to come up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running lab. Dropping it takes it down, unless it is kept.
pub struct Lab {
    name: String,
    dir: PathBuf,
    topology: Topology,
    record: Arc<Mutex<Record>>,
    /// Where agents have their objects from, if not from files.
    api: Option<ApiServer>,
}

/// One line of `sluice-lab list`.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Name of the lab.
    pub name: String,
    /// It is up; else only what a killed predecessor left.
    pub up: bool,
    /// Nodes.
    pub nodes: usize,
    /// Pods.
    pub pods: usize,
    /// Folder with logs, sockets and manifests.
    pub dir: PathBuf,
}

/// All labs on this machine.
pub fn list() -> Vec<Listed> {
    let records = state::names().into_iter().filter_map(|name| Record::load(&name).ok());
    let line = |r: Record| Listed {
        up: !r.abandoned(),
        nodes: r.topology.nodes.len(),
        pods: r.topology.pods.len(),
        dir: state::dir(&r.name),
        name: r.name,
    };
    records.map(line).collect()
}

impl Lab {
    /// Builds `topology` under a name of its own, starts agents and servers, attaches the pods, and returns when all
    /// of it is ready.
    ///
    /// # Errors
    /// Whatever could not be built; what had been built is gone again.
    pub fn up(topology: &Topology) -> Result<Lab> {
        Lab::up_from(topology, Source::of_the_environment()?)
    }

    /// As [`Lab::up`], with objects from there.
    ///
    /// # Errors
    /// As [`Lab::up`].
    pub fn up_from(topology: &Topology, source: Source) -> Result<Lab> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Lab::make(
            topology,
            source,
            &format!("t{}-{count}", std::process::id()),
            &mut |_| {},
        )
    }

    /// As [`Lab::up`], under the name `name`; `progress` hears what is done next.
    ///
    /// # Errors
    /// As [`Lab::up`]; also if a lab of that name is up.
    pub fn up_named(topology: &Topology, name: &str, progress: &mut dyn FnMut(&str)) -> Result<Lab> {
        Lab::make(topology, Source::Manifests, name, progress)
    }

    fn make(topology: &Topology, source: Source, name: &str, progress: &mut dyn FnMut(&str)) -> Result<Lab> {
        check_name("lab", name)?;
        let namespaces = plan::places(topology)
            .iter()
            .map(|place| namespace(name, place))
            .collect();
        let on_agents = topology.nodes.iter().filter(|n| n.kind == NodeKind::Sluice);
        let record = Record {
            name: name.into(),
            owner: Process::myself(),
            kept: false,
            namespaces,
            processes: Vec::new(),
            pins: on_agents.map(|n| agent::pins(name, &n.name)).collect(),
            topology: topology.clone(),
        };
        let mut lab = Lab::of(record);
        let claimed = signals::guard(&lab.record, || state::claim(&locked(&lab.record)));
        if let Err(error) = claimed {
            // The name belongs to somebody else, whose lab must stay.
            locked(&lab.record).kept = true;
            return Err(error);
        }
        if source == Source::ApiServer {
            lab.api = Some(ApiServer::start(&lab.dir)?);
        }
        lab.build(progress)?;
        Ok(lab)
    }

    /// A lab that is up already, to look around or to take it down.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn open(name: &str) -> Result<Lab> {
        check_name("lab", name)?;
        let mut record = Record::load(name)?;
        ensure!(
            !record.abandoned(),
            "lab {name} is only what a killed run left; `sluice-lab down {name}` removes it"
        );
        record.kept = true;
        Ok(Lab::of(record))
    }

    /// Takes the lab `name` down, in whatever state it is.
    ///
    /// # Errors
    /// There is none of that name, or a part of it cannot be removed.
    pub fn down(name: &str) -> Result<()> {
        check_name("lab", name)?;
        let _lock = state::lock()?;
        Record::load(name)?.take_down()
    }

    /// Leaves the lab up when this process ends. `sluice-lab down` ends it.
    ///
    /// # Errors
    /// The record cannot be written; the lab is taken down.
    pub fn keep(self) -> Result<()> {
        let mut record = locked(&self.record);
        record.kept = true;
        let saved = record.save();
        record.kept = saved.is_ok();
        saved
    }

    fn of(record: Record) -> Lab {
        let (name, topology) = (record.name.clone(), record.topology.clone());
        Lab {
            dir: state::dir(&name),
            name,
            topology,
            record: Arc::new(Mutex::new(record)),
            api: None,
        }
    }

    fn build(&self, progress: &mut dyn FnMut(&str)) -> Result<()> {
        let t = &self.topology;
        progress(&format!(
            "namespaces for {} nodes, {} pods, {} clients",
            t.nodes.len(),
            t.pods.len(),
            t.clients.len()
        ));
        for place in plan::places(t) {
            let _held = locked(&self.record);
            ns::create(&namespace(&self.name, &place))?;
        }
        for step in plan::steps(t, &|place| namespace(&self.name, place)) {
            let _held = locked(&self.record);
            build::carry_out(&step, &namespace(&self.name, &step.place))?;
        }
        for place in plan::places(t) {
            build::wait_for_cables(&namespace(&self.name, &place), PATIENCE)?;
        }
        self.write_manifests()?;
        let agents: Vec<Node<'_>> = t
            .nodes
            .iter()
            .filter(|n| n.kind == NodeKind::Sluice)
            .map(|n| self.node(&n.name))
            .collect::<Result<_>>()?;
        if !agents.is_empty() {
            progress(&format!("agents on {}", names(&agents)));
            agent::mount_bpffs()?;
        }
        for node in &agents {
            if let Some(api) = &self.api {
                node.within(|| api.listen_here())?;
            }
            node.launch_agent()?;
        }
        let servers = self.start_servers()?;
        for node in &agents {
            node.wait_ready()?;
        }
        for pod in &t.pods {
            if t.node(&pod.node).is_some_and(|n| n.kind == NodeKind::Sluice) {
                progress(&format!("pod {} joins {}", pod.name, pod.node));
                agent::attach(self, pod)?;
            }
        }
        for (server, name) in servers {
            servers::wait_for(server, name, &namespace(&self.name, name), PATIENCE)?;
        }
        locked(&self.record).save()
    }

    fn start_servers(&self) -> Result<Vec<(Server, &str)>> {
        let t = &self.topology;
        if t.pods
            .iter()
            .any(|p| p.run.iter().any(|s| s.kind == crate::topology::ServerKind::Http))
        {
            let big = fs::File::create(self.dir.join("big"))?;
            big.set_len(64 << 20)?;
        }
        let pods = t.pods.iter().flat_map(|p| p.run.iter().map(|s| (*s, p.name.as_str())));
        let clients = t
            .clients
            .iter()
            .flat_map(|c| c.run.iter().map(|s| (*s, c.name.as_str())));
        let all: Vec<_> = pods.chain(clients).collect();
        for (server, name) in &all {
            let mut record = locked(&self.record);
            let child = servers::start(*server, name, &namespace(&self.name, name), &self.dir)?;
            record
                .processes
                .extend(Process::of(child.id() as i32, format!("{} {name}", server.kind.name())));
            record.save()?;
        }
        Ok(all)
    }

    fn write_manifests(&self) -> Result<()> {
        if let Some(source) = &self.topology.manifests {
            let entries =
                fs::read_dir(source).with_context(|| format!("manifests: cannot read the folder {source}"))?;
            for entry in entries {
                let path = entry?.path();
                let (Some(name), true) = (path.file_name(), is_yaml(&path)) else {
                    continue;
                };
                let text = fs::read(&path).with_context(|| format!("manifests: cannot read {}", path.display()))?;
                self.write(&name.to_string_lossy(), &text)?;
            }
        }
        for (file, object) in manifests::objects(&self.topology) {
            self.write(&file, manifests::to_yaml(&object).as_bytes())?;
        }
        Ok(())
    }

    /// Writes a manifest, whoever reads it.
    fn write(&self, file: &str, text: &[u8]) -> Result<()> {
        state::replace(&self.manifest(file)?, text)?;
        match &self.api {
            Some(api) => api.mirror(file, &String::from_utf8_lossy(text)),
            None => Ok(()),
        }
    }

    pub(crate) fn source(&self) -> Source {
        if self.api.is_some() {
            Source::ApiServer
        } else {
            Source::Manifests
        }
    }

    /// The API server, if agents have their objects from one.
    pub fn api(&self) -> Option<&ApiServer> {
        self.api.as_ref()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder with its logs, sockets, configurations and `manifests/`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it was built from.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The node `name`.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn node(&self, name: &str) -> Result<Node<'_>> {
        self.topology
            .node(name)
            .with_context(|| format!("lab {}: there is no node {name}", self.name))?;
        self.place(name).map(Node)
    }

    /// The pod `name`.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn pod(&self, name: &str) -> Result<Pod<'_>> {
        self.topology
            .pod(name)
            .with_context(|| format!("lab {}: there is no pod {name}", self.name))?;
        self.place(name).map(Pod)
    }

    /// The node, pod or client `name`, or the wire, which is called `net`.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn place(&self, name: &str) -> Result<Place<'_>> {
        let places = plan::places(&self.topology);
        if !places.iter().any(|place| place == name) {
            bail!(
                "lab {}: there is no `{name}`; there are {}",
                self.name,
                places.join(", ")
            );
        }
        Ok(Place {
            lab: self,
            name: name.into(),
            namespace: self.namespace(name),
        })
    }

    /// Writes `yaml` as `file` in the manifests; agents see the old file or the new one, never a part.
    ///
    /// # Errors
    /// `file` is not the plain name of a YAML file, or cannot be written.
    pub fn apply(&self, file: &str, yaml: &str) -> Result<()> {
        self.write(file, yaml.as_bytes())
    }

    /// Changes the object in `file`: it is read, handed to `change`, and written.
    ///
    /// # Errors
    /// There is no such file, or it holds no single object.
    pub fn edit(&self, file: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
        let path = self.manifest(file)?;
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut object: Value =
            serde_saphyr::from_str(&text).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
        change(&mut object);
        self.write(file, manifests::to_yaml(&object).as_bytes())
    }

    /// Removes `file` from the manifests.
    ///
    /// # Errors
    /// There is no such file.
    pub fn remove(&self, file: &str) -> Result<()> {
        let path = self.manifest(file)?;
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        match &self.api {
            Some(api) => api.mirror(file, ""),
            None => Ok(()),
        }
    }

    /// Asks `done` until it says yes, and returns how long that took.
    ///
    /// # Errors
    /// It does not within `deadline`; the text names `what`.
    pub fn wait(&self, what: &str, deadline: Duration, mut done: impl FnMut() -> bool) -> Result<Duration> {
        let started = Instant::now();
        while !done() {
            if started.elapsed() > deadline {
                bail!("lab {}: waited {deadline:?} for {what}", self.name);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(started.elapsed())
    }

    pub(crate) fn record(&self) -> &Arc<Mutex<Record>> {
        &self.record
    }

    pub(crate) fn namespace(&self, place: &str) -> String {
        namespace(&self.name, place)
    }

    fn manifest(&self, file: &str) -> Result<PathBuf> {
        let path = Path::new(file);
        ensure!(
            path.file_name() == Some(path.as_os_str()) && is_yaml(path),
            "manifest `{file}`: a plain file name ending in .yaml or .yml is needed"
        );
        Ok(self.dir.join("manifests").join(path))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let mut record = locked(&self.record);
        if record.kept {
            return;
        }
        let taken = state::lock().and_then(|_lock| record.take_down());
        // A guard of a running program may keep the record alive; the name is free for others from here on.
        record.kept = true;
        if let Err(error) = taken {
            eprintln!("{error:#}");
        }
    }
}

fn namespace(lab: &str, place: &str) -> String {
    format!("sl-{lab}-{place}")
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml")
}

fn names(nodes: &[Node<'_>]) -> String {
    nodes.iter().map(|n| n.name()).collect::<Vec<_>>().join(", ")
}
