//! The agent of a node as its DaemonSet would run it: what of that is imitated, and what the lab has in its place. It never decides how a
//! container is made.

use crate::agent::lay_over;
use crate::api::{KUBECONFIG, Source};
use crate::container::{Container, Mount};
use crate::place::{Node, binary};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

impl Container {
    /// The first container of a DaemonSet. `paths` says for the name of each volume that is no path of the host what it is here, and
    /// for others, if it likes, what to take instead; `fields` says what the pod's fields are.
    ///
    /// # Errors
    /// It is privileged, keeps capabilities that it did not ask for, or wants something that is not known here.
    pub(crate) fn of_daemon_set(
        set: &Value,
        paths: impl Fn(&str) -> Option<PathBuf>,
        fields: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let pod = &set["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let security = &container["securityContext"];
        ensure!(security["privileged"] != true, "a privileged container has everything");
        ensure!(security["runAsUser"] == 0, "only root is imitated");
        ensure!(
            security["readOnlyRootFilesystem"] == true,
            "only a read-only root is imitated"
        );
        let words = |list: &Value| -> Vec<String> {
            let list = list.as_array().into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        ensure!(
            words(&security["capabilities"]["drop"]) == ["ALL"],
            "what a runtime gives unasked must be dropped"
        );
        let mut mounts = Vec::new();
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let name = mount["name"].as_str().context("a mount has no name")?;
            let mut volumes = pod["volumes"].as_array().into_iter().flatten();
            let volume = volumes.find(|volume| volume["name"] == name);
            let volume = volume.context("a mount has no volume")?;
            let host = volume["hostPath"]["path"].as_str().map(PathBuf::from);
            let Some(from) = paths(name).or(host) else {
                bail!("volume {name} is no path of the host, and nothing else is known of it");
            };
            mounts.push(Mount {
                from,
                to: mount["mountPath"].as_str().context("a mount has no path")?.into(),
                read_only: mount["readOnly"] == true,
                follows: mount["mountPropagation"] == "HostToContainer",
            });
        }
        let variables = container["env"].as_array().into_iter().flatten();
        let environment = variables.map(|variable| {
            let name = variable["name"].as_str().context("a variable has no name")?;
            let field = variable["valueFrom"]["fieldRef"]["fieldPath"]
                .as_str()
                .and_then(&fields);
            let value = field.with_context(|| format!("{name} is of a kind that is not known here"))?;
            Ok((name.to_owned(), value))
        });
        Ok(Self {
            capabilities: words(&security["capabilities"]["add"]),
            mounts,
            environment: environment.collect::<Result<_>>()?,
            args: words(&container["args"]),
        })
    }
}

impl Node<'_> {
    /// What the agent's DaemonSet `set` would give it on this node: its configuration and the lab's folder stand for the volumes `config`
    /// and `state`.
    ///
    /// # Errors
    /// The DaemonSet wants something that the lab cannot imitate.
    pub fn container(&self, set: &Value) -> Result<Container> {
        let spec = self
            .lab
            .topology()
            .node(&self.name)
            .context("the node left the topology")?;
        let paths = |volume: &str| match volume {
            "config" => Some(self.config_dir()),
            "state" => Some(self.lab.dir().into()),
            _ => None,
        };
        let fields = |path: &str| match path {
            "spec.nodeName" => Some(self.name.clone()),
            "status.hostIP" => Some(spec.addresses.first()?.addr().to_string()),
            _ => None,
        };
        Container::of_daemon_set(set, paths, fields)
    }

    /// Starts the agent within `container`, with `over` laid over its configuration, and waits until it is ready. It finds the lab's
    /// folder at `/run/sluice`.
    ///
    /// # Errors
    /// As [`Node::start_agent`].
    pub fn start_agent_within(&self, container: &Container, over: &Map<String, Value>) -> Result<()> {
        self.launch_agent_within(container, over)?;
        self.wait_ready()
    }

    /// As [`Node::start_agent_within`], without waiting.
    ///
    /// # Errors
    /// It is running already, or cannot be started.
    pub fn launch_agent_within(&self, container: &Container, over: &Map<String, Value>) -> Result<()> {
        self.launch(&binary("sluice")?, Some(container), &self.within(over), &[])
    }

    /// As [`Node::take_over_agent`], within `container`, which says so itself.
    ///
    /// # Errors
    /// As [`Node::take_over_agent`].
    pub fn take_over_agent_within(&self, container: &Container, over: &Map<String, Value>) -> Result<()> {
        self.take_over(Some(container), &self.within(over), &[])
    }

    /// What is elsewhere in a container.
    fn within(&self, over: &Map<String, Value>) -> Map<String, Value> {
        const HERE: &str = "/run/sluice";
        let mut all = json!({"socket": format!("{HERE}/{}.sock", self.name)});
        match self.lab.source() {
            Source::Manifests => all["manifests"] = json!(format!("{HERE}/manifests")),
            Source::ApiServer => all["kubernetes"] = json!({"kubeconfig": format!("{HERE}/{KUBECONFIG}")}),
        }
        lay_over(&mut all, over);
        all.as_object().cloned().unwrap_or_default()
    }

    pub(crate) fn config_dir(&self) -> PathBuf {
        self.lab.dir().join(format!("{}.config", self.name))
    }
}
