//! Decides what a probe of one container's agent answers where two may be on a node, one after the other. It never takes another
//! container's agent for its own.

use super::args::Probe;
use super::client::Agent;
use anyhow::bail;
use sluice_control::api::{ProbeAnswer, Request};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// How long the agent may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(agent: &Agent, probe: Probe) -> anyhow::Result<()> {
    let answer = agent.ask(&Request::Probe)?;
    let own = std::fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino());
    judge(probe, &answer, own)
}

/// A probe runs in the container, so as long as it does there is an agent: one that waits for its turn, or has handed over.
fn judge(probe: Probe, answer: &ProbeAnswer, own: u64) -> anyhow::Result<()> {
    let wrong = match probe {
        Probe::Livez if answer.pid_namespace != own => &None,
        Probe::Livez => &answer.not_live,
        Probe::Readyz if answer.pid_namespace != own => bail!("another container's agent serves this node"),
        Probe::Readyz => &answer.not_ready,
    };
    wrong.as_ref().map_or(Ok(()), |text| bail!("{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_containers_agent_makes_this_one_neither_dead_nor_ready() {
        let answer = |not_live: Option<&str>, not_ready: Option<&str>| ProbeAnswer {
            pid_namespace: 7,
            not_live: not_live.map(str::to_owned),
            not_ready: not_ready.map(str::to_owned),
        };
        let well = answer(None, None);
        let ill = answer(Some("worker 1 stands"), Some("waiting for pods"));
        let told = |probe, answer, own| judge(probe, answer, own).map_err(|err| err.to_string());
        assert_eq!(told(Probe::Livez, &well, 7), Ok(()));
        assert_eq!(told(Probe::Readyz, &well, 7), Ok(()));
        assert_eq!(told(Probe::Livez, &ill, 7), Err("worker 1 stands".into()));
        assert_eq!(told(Probe::Readyz, &ill, 7), Err("waiting for pods".into()));
        assert_eq!(told(Probe::Livez, &ill, 8), Ok(()));
        assert_eq!(
            told(Probe::Readyz, &well, 8),
            Err("another container's agent serves this node".into())
        );
    }
}
