//! The `sluice` binary: the agent of a node, and the commands that talk to it.

mod cli;
mod clock;
mod config;
mod cpus;
mod devices;
mod find_uplink;
mod host_ports;
mod leaving;
mod logging;
mod lost;
mod only_one;
mod plane;
mod port_watch;
mod ports;
mod run;
mod signals;
mod take_over;
mod testing;
mod tsc;
mod uplink;
mod worker;

fn main() -> std::process::ExitCode {
    cli::main()
}
