//! The `sluice` binary: the agent of a node, and the commands that talk to it.

mod clock;
mod config;
mod host_ports;
mod plane;
mod ports;
mod run;
mod signals;
mod uplink;
mod worker;

fn main() -> anyhow::Result<()> {
    let path = std::env::args_os().nth(1).unwrap_or_default();
    run::run(config::Config::load(path.as_ref())?)
}
