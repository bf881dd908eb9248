//! Decides what the words of the command line mean and hands each to the one who does it. It never computes what is shown.

mod args;
mod client;
mod counters;
mod drops;
mod flows;
mod follow;
mod page;
mod policies;
mod probe;
mod services;
mod status;
mod table;
#[cfg(test)]
mod tests;
mod units;
mod workers;

use crate::config::{Config, DEFAULT_SOCKET, EXAMPLE};
use crate::{logging, run};
use anyhow::bail;
use args::{Cli, ConfigVerb, Format, Verb};
use clap::Parser;
pub(crate) use client::Agent;
use page::Page;
use serde::de::DeserializeOwned;
use sluice_control::api::{AttachAnswer, LogAnswer, LogRequest, Request};
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// Does what the command line says.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    match act(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            // After the log was started, its reader is who must hear of it, in the log's format.
            if tracing::enabled!(tracing::Level::ERROR) {
                tracing::error!("{err:#}");
            } else {
                eprintln!("{err:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn act(cli: Cli) -> anyhow::Result<()> {
    let socket = cli.socket.as_deref();
    let agent = Agent::new(socket.unwrap_or(Path::new(DEFAULT_SOCKET)));
    match cli.verb {
        Verb::Run { .. } | Verb::Config { .. } if socket.is_some() => {
            bail!(
                "--socket is for commands that talk to a running agent; the key `socket` of its configuration says where it answers"
            )
        }
        Verb::Run {
            config,
            take_over,
            node,
        } => {
            let config = Config::load_as(&config, node)?;
            logging::start(&config.log)?;
            run::run(&config, take_over)
        }
        Verb::Probe { probe: what } => probe::run(&agent.within(probe::PATIENCE), what),
        Verb::Config {
            verb: ConfigVerb::Example,
        } => print(EXAMPLE),
        Verb::Config {
            verb: ConfigVerb::Check { file },
        } => {
            let config = Config::load(&file)?;
            print(&format!(
                "{} is right: node {}, uplink {}\n",
                file.display(),
                config.node,
                config.uplink.interface
            ))
        }
        Verb::Status { output } => show(&agent, &Request::Status, output.format, |status| status::page(&status)),
        Verb::Services { name, output } => {
            let page = |rows: Vec<_>| services::page(&rows, name.as_deref());
            show(&agent, &args::services(&name), output.format, page)
        }
        Verb::Endpoints { name, output } => {
            let page = |rows: Vec<_>| services::endpoints_page(&rows, name.as_deref());
            show(&agent, &args::endpoints(&name), output.format, page)
        }
        Verb::Policies { pod, output } => {
            let page = |rows: Vec<_>| policies::page(&rows, pod.as_deref());
            show(&agent, &args::policies(&pod), output.format, page)
        }
        Verb::Flows { query, output } => {
            let query = args::flows(query);
            let page = |rows: Vec<_>| flows::page(&rows, &query);
            show(&agent, &Request::Flows(query.clone()), output.format, page)
        }
        Verb::Counters { all, output } => show(&agent, &Request::Counters, output.format, |report| {
            counters::page(&report, all)
        }),
        Verb::Drops {
            query,
            verbose,
            follow: true,
            output,
        } => follow::run(&agent, args::drops(query), verbose, output.format),
        Verb::Drops {
            query, verbose, output, ..
        } => {
            let query = args::drops(query);
            let page = |report| drops::page(&report, &query, verbose);
            show(&agent, &Request::Drops(query.clone()), output.format, page)
        }
        Verb::Metrics => print(&agent.ask::<String>(&Request::Metrics)?),
        Verb::Log { filter, output } => show(
            &agent,
            &Request::Log(LogRequest { filter }),
            output.format,
            |answer: LogAnswer| {
                let mut page = Page::default();
                page.line([format!("the agent's log writes {}", answer.filter).into()]);
                page
            },
        ),
        Verb::Attach { pod, output } => show(&agent, &Request::Attach(args::attach(pod)?), output.format, |answer| {
            attached(&answer)
        }),
        Verb::Detach { pod } => {
            let request = args::detach(pod)?;
            let (interface, netns) = (request.interface.clone(), request.netns.display().to_string());
            agent.ask::<()>(&Request::Detach(request))?;
            print(&format!("detached {interface} of {netns}\n"))
        }
    }
}

/// Asks the agent and prints the answer.
fn show<T: DeserializeOwned>(
    agent: &Agent,
    request: &Request,
    format: Format,
    page: impl FnOnce(T) -> Page,
) -> anyhow::Result<()> {
    match format {
        Format::Human => print(&page(agent.ask(request)?).render(colour())),
        Format::Json => {
            let value: serde_json::Value = agent.ask(request)?;
            print(&format!("{}\n", serde_json::to_string_pretty(&value)?))
        }
    }
}

fn attached(answer: &AttachAnswer) -> Page {
    let mut page = Page::default();
    let AttachAnswer {
        pod,
        interface,
        mac,
        mtu,
        ..
    } = answer;
    let addresses = answer.addresses.join(", ");
    page.line([
        page::bold(pod),
        format!(" attached: {interface}   {addresses}   MAC {mac}   MTU {mtu} bytes").into(),
    ]);
    if !answer.gateways.is_empty() {
        page.line([format!("default gateways {}", answer.gateways.join(", ")).into()]);
    }
    for warning in &answer.warnings {
        page.line([page::doubtful("warning"), format!("  {warning}").into()]);
    }
    page
}

/// Whether standard output understands colours and its reader wants them (no-color.org).
fn colour() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !unwanted && !dumb
}

/// Writes to standard output; a reader who has seen enough is no error.
fn print(text: &str) -> anyhow::Result<()> {
    put(text).map(drop)
}

/// Writes to standard output; false when its reader has seen enough.
fn put(text: &str) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(err) => bail!("cannot write to standard output: {err}"),
    }
}
