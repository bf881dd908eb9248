//! The API server of a measurement, in a process of its own: it ends with whoever started it.

use super::objects::{Change, Size};
use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::Value;
use sluice_apiserver::{Server, Settings};
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Serves a cluster until its input ends; takes `change KIND ROUND`, `churn KIND COUNT PER_SECOND` and `counters`, and answers with counters.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    size: String,
}

impl Serve {
    pub(crate) fn run(&self) -> Result<()> {
        let size: Size = serde_json::from_str(&self.size)?;
        let server = serve(size)?;
        println!("{}", serde_json::to_string(&server.kubeconfig(None))?);
        for line in std::io::stdin().lines() {
            println!("{}", obey(&server, size, &line?)?);
        }
        Ok(())
    }
}

fn serve(size: Size) -> Result<Server> {
    let server = Server::start(Settings::default())?;
    // Without it agents would ask for these policies again and again, when they are not counted.
    server.apply(definition())?;
    for object in size.objects() {
        server.apply(object)?;
    }
    server.counters().reset();
    Ok(server)
}

/// Of ClusterNetworkPolicies.
fn definition() -> Value {
    serde_json::json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "clusternetworkpolicies.policy.networking.k8s.io"},
        "spec": {
            "group": "policy.networking.k8s.io", "scope": "Cluster",
            "names": {"plural": "clusternetworkpolicies", "kind": "ClusterNetworkPolicy"},
            "versions": [{"name": "v1alpha2", "served": true, "storage": true}],
        },
    })
}

fn obey(server: &Server, size: Size, order: &str) -> Result<Value> {
    let mut words = order.split(' ');
    let verb = words.next();
    let kind = words.next().and_then(|kind| Change::from_str(kind, false).ok());
    let mut number = || -> Result<u32> { Ok(words.next().context("how many?")?.parse()?) };
    match (verb, kind) {
        (Some("change"), Some(kind)) => _ = server.apply(kind.object(number()?, size))?,
        (Some("churn"), Some(kind)) => {
            let (count, per_second) = (number()?, number()?);
            let began = Instant::now();
            for round in 0..count {
                let due = began + Duration::from_secs(1) * round / per_second;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                // Of others than the single ones were.
                server.apply(kind.object(CHURNED + round, size))?;
            }
        }
        (Some("counters"), _) => {}
        _ => anyhow::bail!("{order} is no order"),
    }
    Ok(server.counters().json())
}

/// The first round of a churn: in no size does an object become what it was.
const CHURNED: u32 = 5_130;

/// What the API server counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) requests: u64,
    pub(super) connections: u64,
    /// Sent by it.
    pub(super) bytes: u64,
}

/// It, seen from outside.
pub(super) struct Served {
    place: Place,
    folder: PathBuf,
}

enum Place {
    Apart {
        child: Child,
        orders: Option<ChildStdin>,
        answers: Lines<BufReader<ChildStdout>>,
    },
    #[cfg(test)]
    Here(Server, Size, Option<Value>),
}

impl Served {
    /// In a process of its own.
    pub(super) fn apart(size: Size) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("cluster-serve")
            .arg(serde_json::to_string(&size)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().context("no output")?).lines();
        let first = answers.next().context("the API server ended")??;
        let place = Place::Apart { child, orders, answers };
        Self::at(place, &serde_json::from_str::<String>(&first)?)
    }

    /// In this process.
    #[cfg(test)]
    pub(super) fn here(size: Size) -> Result<Self> {
        let server = serve(size)?;
        let kubeconfig = server.kubeconfig(None);
        Self::at(Place::Here(server, size, None), &kubeconfig)
    }

    fn at(place: Place, kubeconfig: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("sluice-perf-cluster-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("kubeconfig"), kubeconfig)?;
        Ok(Self { place, folder })
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.folder.join("cluster")
    }

    /// Changes an object.
    pub(super) fn change(&mut self, change: Change, round: u32) -> Result<()> {
        let kind = change.to_possible_value().context("it has a name")?;
        self.order(&format!("change {} {round}", kind.get_name())).map(drop)
    }

    /// What it counted so far.
    pub(super) fn counters(&mut self) -> Result<Counted> {
        let counters = self.order("counters")?;
        let requests = counters["requests"].as_array().context("requests")?;
        let number = |name: &str| counters[name].as_u64().with_context(|| name.to_owned());
        Ok(Counted {
            requests: requests.iter().filter_map(|row| row["count"].as_u64()).sum(),
            connections: number("connections")?,
            bytes: number("bytes_out")?,
        })
    }

    /// Begins to change objects, evenly; [`Self::churned`] waits for the last one.
    pub(super) fn begin_churn(&mut self, change: Change, count: u32, per_second: u32) -> Result<()> {
        let kind = change.to_possible_value().context("it has a name")?;
        self.say(&format!("churn {} {count} {per_second}", kind.get_name()))
    }

    /// All changes have been made.
    pub(super) fn churned(&mut self) -> Result<()> {
        self.answer().map(drop)
    }

    fn order(&mut self, text: &str) -> Result<Value> {
        self.say(text)?;
        self.answer()
    }

    fn say(&mut self, text: &str) -> Result<()> {
        match &mut self.place {
            Place::Apart { orders, .. } => Ok(writeln!(orders.as_mut().context("it has ended")?, "{text}")?),
            #[cfg(test)]
            Place::Here(server, size, said) => {
                *said = Some(obey(server, *size, text)?);
                Ok(())
            }
        }
    }

    fn answer(&mut self) -> Result<Value> {
        match &mut self.place {
            Place::Apart { answers, .. } => {
                Ok(serde_json::from_str(&answers.next().context("the API server ended")??)?)
            }
            #[cfg(test)]
            Place::Here(_, _, said) => said.take().context("nothing was asked"),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        match &mut self.place {
            Place::Apart { child, orders, .. } => {
                drop(orders.take());
                let _ = child.wait();
            }
            #[cfg(test)]
            Place::Here(..) => {}
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
