//! The agent of a node as the lab sees it: a program with a configuration file, a socket and a log. It never looks inside.

use crate::api::{KUBECONFIG, Source};
use crate::container::Container;
use crate::lab::Lab;
use crate::ns;
use crate::place::{Node, binary};
use crate::process::{Process, end};
use crate::run::{Output, Running, locked};
use crate::state;
use crate::topology::{self, Topology};
use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::{Map, Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Time an agent gets until it is ready.
const READY: Duration = Duration::from_secs(20);

/// A command of the `sluice` binary, aimed at one node.
pub type AgentCommand<'c> = &'c [&'c str];

/// Where the agent's pinned objects go; one place for each node of each lab.
pub(crate) fn pins(lab: &str, node: &str) -> PathBuf {
    format!("/sys/fs/bpf/sluice-{lab}-{node}").into()
}

/// The agent's configuration, with what the topology lays over it.
fn config(t: &Topology, lab: &str, node: &topology::Node, source: Source) -> Value {
    let dir = state::dir(lab);
    let mut config = json!({
        "node": node.name,
        "socket": dir.join(format!("{}.sock", node.name)),
        "bpffs": pins(lab, &node.name),
        "uplink": {"interface": "eth0"},
        "vxlan": {"vni": 1, "port": 8472},
        "workers": {"count": node.workers, "polling": "adaptive"},
        "services": {"scheduler": "random", "cidrs": ["10.96.0.0/16", "fd00:96::/112"]},
        "snat": {"ports": "40000-65535"},
        "memory": {"frames": 16384},
        "log": {"level": "info", "format": "human"},
    });
    match source {
        Source::Manifests => config["manifests"] = json!(dir.join("manifests")),
        Source::ApiServer => {
            config["source"] = json!("kubernetes");
            config["kubernetes"] = json!({"kubeconfig": dir.join(KUBECONFIG)});
        }
    }
    lay_over(&mut config, &t.agent);
    lay_over(&mut config, &node.agent);
    config
}

/// Members of `over` replace those of `base`; maps in both are merged.
pub(crate) fn lay_over(base: &mut Value, over: &Map<String, Value>) {
    for (key, value) in over {
        match value {
            Value::Object(inner) if base[key].is_object() => lay_over(&mut base[key], inner),
            _ => base[key] = value.clone(),
        }
    }
}

/// Mounts the BPF file system where it belongs, once for all agents: two that did it at the same time would hide each
/// other's pins.
pub(crate) fn mount_bpffs() -> Result<()> {
    const AT: &str = "/sys/fs/bpf";
    let _lock = state::lock()?;
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if mounts.lines().any(|line| line.split(' ').nth(1) == Some(AT)) {
        return Ok(());
    }
    let none: Option<&str> = None;
    nix::mount::mount(Some("bpf"), AT, Some("bpf"), nix::mount::MsFlags::empty(), none)
        .with_context(|| format!("cannot mount the BPF file system on {AT}; is CONFIG_BPF_SYSCALL missing?"))
}

impl Node<'_> {
    /// Starts the agent without waiting for it.
    ///
    /// # Errors
    /// It is running already, or cannot be started.
    pub fn launch_agent(&self) -> Result<()> {
        self.launch(&binary("sluice")?, None, &Map::new(), &[])
    }

    /// Starts the agent with these variables in its environment, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Node::start_agent`].
    pub fn start_agent_in(&self, environment: &[(&str, &str)]) -> Result<()> {
        self.launch(&binary("sluice")?, None, &Map::new(), environment)?;
        self.wait_ready()
    }

    /// Starts the program at `path` as the agent, with `over` laid over its configuration, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Node::start_agent`].
    pub fn start_other_agent(&self, path: &Path, over: &Map<String, Value>) -> Result<()> {
        self.launch(path, None, over, &[])?;
        self.wait_ready()
    }

    pub(crate) fn launch(
        &self,
        program: &Path,
        container: Option<&Container>,
        over: &Map<String, Value>,
        environment: &[(&str, &str)],
    ) -> Result<()> {
        let lab = self.lab;
        let spec = lab.topology().node(&self.name).context("the node left the topology")?;
        ensure!(
            spec.kind == topology::NodeKind::Sluice,
            "{}: kind linux has no agent to start",
            self.name
        );
        ensure!(self.agent().is_none(), "{}: its agent is running already", self.name);
        self.spawn_agent(program, container, (over, environment), &[])
    }

    /// Starts a second agent that takes over from the running one, as a rollout does; ends that one when it has nothing any more.
    ///
    /// # Errors
    /// None is running; or the second one ends, or has not taken over in time. The running one goes on then.
    pub fn take_over_agent(&self, over: &Map<String, Value>) -> Result<()> {
        self.take_over(None, over, &["--take-over"])
    }

    pub(crate) fn take_over(
        &self,
        container: Option<&Container>,
        over: &Map<String, Value>,
        words: &[&str],
    ) -> Result<()> {
        let old = self
            .agent()
            .with_context(|| format!("{}: no agent is running", self.name))?;
        let before = format!("{} that handed over", self.agent_label());
        locked(self.lab.record())
            .processes
            .iter_mut()
            .filter(|process| **process == old)
            .for_each(|process| process.what.clone_from(&before));
        let started = Instant::now();
        self.spawn_agent(&binary("sluice")?, container, (over, &[]), words)?;
        loop {
            self.wait_ready()?;
            // For a moment nobody answers.
            let status = self.sluice_json(&["status"]).unwrap_or_default();
            let younger = |ms: u64| u128::from(ms) < started.elapsed().as_millis();
            if status["ready"] == true && status["uptime_ms"].as_u64().is_some_and(younger) {
                break;
            }
            ensure!(started.elapsed() < READY, "{}: not taken over in time", self.name);
            std::thread::sleep(Duration::from_millis(10));
        }
        old.signal(Signal::SIGTERM);
        ensure!(
            old.gone_within(Duration::from_secs(10)),
            "the agent of {} that handed over is still there after SIGTERM",
            self.name
        );
        let mut record = locked(self.lab.record());
        record.processes.retain(|process| process.what != before);
        record.save()
    }

    fn spawn_agent(
        &self,
        program: &Path,
        container: Option<&Container>,
        (over, environment): (&Map<String, Value>, &[(&str, &str)]),
        words: &[&str],
    ) -> Result<()> {
        let lab = self.lab;
        let spec = lab.topology().node(&self.name).context("the node left the topology")?;
        let file = match container {
            None => lab.dir().join(format!("{}.yaml", self.name)),
            Some(_) => {
                fs::create_dir_all(self.config_dir())?;
                self.config_dir().join("config.yaml")
            }
        };
        let mut config = config(lab.topology(), lab.name(), spec, lab.source());
        lay_over(&mut config, over);
        let text = crate::manifests::to_yaml(&config);
        state::replace(&file, text.as_bytes())?;
        let log = File::options().create(true).append(true).open(self.agent_log())?;
        let mut command = match container {
            None => {
                let mut command = Command::new(program);
                command.arg("run").arg("--config").arg(&file);
                command
            }
            Some(container) => {
                let mut command = Command::new(binary("sluice-lab")?);
                command
                    .arg("contain")
                    .arg(serde_json::to_string(container)?)
                    .arg("--")
                    .arg(program);
                command.args(&container.args);
                command
            }
        };
        command
            .args(words)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(words) = &lab.topology().testing {
            command.env("SLUICE_TESTING", words);
        }
        let mut record = locked(lab.record());
        let child = ns::spawn(&self.namespace, &mut command)?;
        record
            .processes
            .extend(Process::of(child.id() as i32, self.agent_label()));
        record.save()
    }

    /// Starts the agent and waits until it is ready.
    ///
    /// # Errors
    /// It is running already, ends, or is not ready in time; the text ends with its last words.
    pub fn start_agent(&self) -> Result<()> {
        self.launch_agent()?;
        self.wait_ready()
    }

    /// As [`Node::start_agent`], with keys of its configuration that differ from the topology's this once.
    ///
    /// # Errors
    /// As [`Node::start_agent`].
    pub fn start_agent_with(&self, over: &Map<String, Value>) -> Result<()> {
        self.launch(&binary("sluice")?, None, over, &[])?;
        self.wait_ready()
    }

    /// As [`Node::start_agent_with`], without waiting for anything.
    ///
    /// # Errors
    /// It is running already, or cannot be started.
    pub fn launch_agent_with(&self, over: &Map<String, Value>) -> Result<()> {
        self.launch(&binary("sluice")?, None, over, &[])
    }

    /// As [`Node::start_agent_with`], with these variables in its environment.
    ///
    /// # Errors
    /// As [`Node::start_agent`].
    pub fn start_agent_with_in(&self, over: &Map<String, Value>, environment: &[(&str, &str)]) -> Result<()> {
        self.launch(&binary("sluice")?, None, over, environment)?;
        self.wait_ready()
    }

    /// Waits until the agent says it is ready.
    ///
    /// # Errors
    /// As [`Node::start_agent`].
    pub fn wait_ready(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            let status = self.sluice(&["status", "-o", "json"])?;
            let said: Option<Value> = serde_json::from_str(&status.stdout).ok();
            if status.ok() && said.is_some_and(|s| s["ready"] == true) {
                return Ok(());
            }
            if self.agent().is_none() {
                bail!(
                    "agent of {} ended before it was ready. Its last words:\n{}",
                    self.name,
                    self.last_words()
                );
            }
            if started.elapsed() > READY {
                bail!(
                    "agent of {} is not ready after {READY:?}: {status}\n{}",
                    self.name,
                    self.last_words()
                );
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// Asks the agent to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// It is not running, or is still there after ten seconds.
    pub fn stop_agent(&self) -> Result<()> {
        self.end_agent(Signal::SIGTERM)
    }

    /// Sends `signal` to the agent and waits until it is gone.
    ///
    /// # Errors
    /// It is not running, or is still there after ten seconds.
    pub fn kill_agent(&self, signal: Signal) -> Result<()> {
        self.end_agent(signal)
    }

    fn end_agent(&self, signal: Signal) -> Result<()> {
        let agent = self
            .agent()
            .with_context(|| format!("{}: no agent is running", self.name))?;
        agent.signal(signal);
        ensure!(
            agent.gone_within(Duration::from_secs(10)),
            "agent of {} is still there 10 s after {signal}. Its last words:\n{}",
            self.name,
            self.last_words()
        );
        end(std::slice::from_ref(&agent), Duration::ZERO);
        let mut record = locked(self.lab.record());
        record.processes.retain(|p| *p != agent);
        record.save()
    }

    /// Is the agent running?
    pub fn agent_running(&self) -> bool {
        self.agent().is_some()
    }

    /// Process id of the agent, if it is running.
    pub fn agent_pid(&self) -> Option<i32> {
        self.agent().map(|p| p.pid)
    }

    /// The agent's log so far, of all its runs in this lab.
    pub fn agent_log(&self) -> PathBuf {
        self.lab.dir().join(format!("{}.log", self.name))
    }

    /// Path of the agent's socket.
    pub fn socket(&self) -> PathBuf {
        self.lab.dir().join(format!("{}.sock", self.name))
    }

    /// Runs the `sluice` command line against this node's agent: `node.sluice(&["services", "-o", "json"])`.
    ///
    /// # Errors
    /// The binary cannot be found or started. What the command itself says is in the output.
    pub fn sluice(&self, args: AgentCommand<'_>) -> Result<Output> {
        Ok(self.sluice_running(args)?.finish(Duration::from_secs(10)))
    }

    /// As [`Node::sluice`], for a command that goes on until it is stopped.
    ///
    /// # Errors
    /// The binary cannot be found or started.
    pub fn sluice_running(&self, args: AgentCommand<'_>) -> Result<Running> {
        let program = path_text(&binary("sluice")?);
        let socket = path_text(&self.socket());
        let mut command = vec![program.as_str(), "--socket", &socket];
        command.extend(args);
        Running::start(self.lab.record(), &self.namespace, &command)
    }

    /// Runs the `sluice` binary on this node, with nothing said about the agent.
    ///
    /// # Errors
    /// The binary cannot be found or started.
    pub fn sluice_alone(&self, args: AgentCommand<'_>) -> Result<Output> {
        let program = path_text(&binary("sluice")?);
        let command = [&[program.as_str()], args].concat();
        Ok(Running::start(self.lab.record(), &self.namespace, &command)?.finish(Duration::from_secs(10)))
    }

    /// What `sluice … -o json` answers, parsed.
    ///
    /// # Errors
    /// The command failed or did not answer with JSON.
    pub fn sluice_json(&self, args: AgentCommand<'_>) -> Result<Value> {
        let output = self.sluice(&[args, &["-o", "json"]].concat())?;
        serde_json::from_str(output.text()?).with_context(|| format!("no JSON from {output}"))
    }

    fn agent(&self) -> Option<Process> {
        let label = self.agent_label();
        locked(self.lab.record())
            .processes
            .iter()
            .find(|p| p.what == label && p.alive())
            .cloned()
    }

    fn agent_label(&self) -> String {
        format!("agent {}", self.name)
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.agent_log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

/// Attaches `pod` to its node's agent: afterwards `eth0` is in the pod.
pub(crate) fn attach(lab: &Lab, pod: &topology::Pod) -> Result<()> {
    let node = lab.node(&pod.node)?;
    let spec = lab.topology().node(&pod.node).context("the node left the topology")?;
    let netns = path_text(&ns::path(&lab.namespace(&pod.name)));
    let mut args = vec![
        "attach".to_string(),
        "--netns".into(),
        netns,
        "--interface".into(),
        "eth0".into(),
    ];
    for address in &pod.addresses {
        let length = spec.pod_cidr(address.is_ipv6()).map_or(32, |c| c.prefix_len());
        args.extend(["--address".into(), format!("{address}/{length}")]);
    }
    args.extend(["--pod".into(), format!("{}/{}", pod.namespace, pod.name)]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    node.sluice(&args)?
        .text()
        .with_context(|| format!("attaching pod {} to {}", pod.name, pod.node))?;
    Ok(())
}

/// Detaches `pod` from its node's agent: afterwards `eth0` is gone.
pub(crate) fn detach(lab: &Lab, pod: &topology::Pod) -> Result<()> {
    let netns = path_text(&ns::path(&lab.namespace(&pod.name)));
    let output = lab
        .node(&pod.node)?
        .sluice(&["detach", "--netns", &netns, "--interface", "eth0"])?;
    output
        .text()
        .with_context(|| format!("detaching pod {} from {}", pod.name, pod.node))?;
    Ok(())
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topology_lays_keys_over_the_configuration() {
        let t = Topology::parse(
            "nodes: [{name: a, addresses: [192.0.2.1/24], podCIDRs: [10.244.1.0/24], workers: 3, agent: {log: {level: debug}}}]
agent: {services: {scheduler: mh}, newKey: 1, log: {level: warn}}",
        )
        .unwrap();
        let config = config(&t, "x", &t.nodes[0], Source::Manifests);
        assert_eq!(config["manifests"], "/run/sluice-lab/x/manifests");
        assert_eq!(config["services"]["scheduler"], "mh");
        assert_eq!(config["services"]["cidrs"][0], "10.96.0.0/16");
        assert_eq!(config["log"], json!({"level": "debug", "format": "human"}));
        assert_eq!((&config["newKey"], &config["workers"]["count"]), (&json!(1), &json!(3)));
        assert_eq!(config["socket"], "/run/sluice-lab/x/a.sock");
    }
}
