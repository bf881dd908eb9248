//! `sluice-lab`: clusters in network namespaces, from the command line.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use sluice_lab::{Container, Lab, Topology};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Nodes, pods and clients in network namespaces of this machine.
#[derive(Parser)]
#[command(name = "sluice-lab", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build a lab from a topology file and leave it up
    Up {
        /// The topology file; tests/lab/topologies/two-nodes.yaml explains every key
        topology: PathBuf,
        /// Name of the lab; the topology's own unless given
        #[arg(long)]
        name: Option<String>,
    },
    /// Take a lab down: processes, namespaces, pinned objects, folder
    Down {
        /// Name of the lab
        name: String,
    },
    /// Run a command on a node, in a pod or on a client
    Exec {
        /// Name of the node, pod or client; `net` is the wire between them
        place: String,
        /// Name of the lab; may be left out if only one is up
        #[arg(long)]
        lab: Option<String>,
        /// The command
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Show the labs on this machine
    List,
    /// Build a lab, show that everything works, take it down
    Demo {
        /// Leave the lab up and print what to look at
        #[arg(long)]
        keep: bool,
    },
    /// Become a program in a container
    #[command(hide = true)]
    Contain {
        /// What it is given, as JSON
        container: String,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Serve in the foreground; what pods run
    #[command(hide = true)]
    Serve {
        what: Service,
        #[arg(long)]
        port: u16,
        #[arg(long)]
        name: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Service {
    UdpEcho,
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sluice-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Up { topology, name } => up(&Topology::load(&topology)?, name)?,
        Verb::Down { name } => Lab::down(&name)?,
        Verb::Exec { place, lab, command } => exec(&place, lab, &command)?,
        Verb::List => list(),
        Verb::Demo { keep } => return sluice_lab::demo::run(keep),
        Verb::Contain { container, command } => {
            serde_json::from_str::<Container>(&container)?.become_command(&command)?;
        }
        Verb::Serve {
            what: Service::UdpEcho,
            port,
            name,
        } => sluice_lab::serve::udp_echo(port, &name)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn up(topology: &Topology, name: Option<String>) -> Result<()> {
    let started = Instant::now();
    let name = name.unwrap_or_else(|| topology.name.clone());
    let lab = Lab::up_named(topology, &name, &mut |what| eprintln!("  {what}"))?;
    println!(
        "lab {name} is up after {:.1?}; its logs and manifests are in {}",
        started.elapsed(),
        lab.dir().display()
    );
    println!(
        "look around:   sluice-lab exec {} --lab {name} -- ip address",
        topology.nodes[0].name
    );
    println!("take it down:  sluice-lab down {name}");
    lab.keep()
}

/// Becomes the command, inside the namespace.
fn exec(place: &str, lab: Option<String>, command: &[OsString]) -> Result<()> {
    let lab = Lab::open(&lab.map_or_else(only_lab, Ok)?)?;
    lab.place(place)?.enter()?;
    let [program, args @ ..] = command else {
        anyhow::bail!("exec: no command was given after `--`")
    };
    let error = Command::new(program).args(args).exec();
    Err(error).with_context(|| format!("cannot start {}", program.to_string_lossy()))
}

fn only_lab() -> Result<String> {
    let mut up: Vec<String> = sluice_lab::list()
        .into_iter()
        .filter(|lab| lab.up)
        .map(|lab| lab.name)
        .collect();
    match up.len() {
        0 => anyhow::bail!("no lab is up; `sluice-lab up TOPOLOGY` builds one"),
        1 => Ok(up.remove(0)),
        _ => anyhow::bail!("several labs are up ({}); choose one with --lab", up.join(", ")),
    }
}

fn list() {
    let labs = sluice_lab::list();
    if labs.is_empty() {
        println!("no lab is up");
        return;
    }
    println!("{:<20} {:<9} {:>5} {:>5}  folder", "lab", "state", "nodes", "pods");
    for lab in labs {
        let state = if lab.up { "up" } else { "left over" };
        println!(
            "{:<20} {state:<9} {:>5} {:>5}  {}",
            lab.name,
            lab.nodes,
            lab.pods,
            lab.dir.display()
        );
    }
}
