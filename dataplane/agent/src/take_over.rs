//! Decides how an agent takes a node over from one that runs: it learns all that it will serve, makes ready what both may have at once, and
//! only then asks for the rest. It never takes anything that was not left to it.

use crate::cli::Agent;
use crate::config::Config;
use crate::only_one::OnlyOne;
use crate::run::Stop;
use anyhow::Context;
use sluice_control::api::Request;
use sluice_control::run::Followed;
use sluice_control::source::SourceSettings;
use std::time::Duration;

/// How often a signal is looked for while the cluster is read.
const LOOK: Duration = Duration::from_millis(200);
/// How long the other agent may take to answer, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who may touch the node's network.
pub(crate) enum Claim {
    /// This agent.
    Alone(OnlyOne),
    /// Another one, until it is asked to hand over; all is known that will be served then.
    Beside(Box<Followed>),
}

impl Claim {
    /// This agent's, if no other is here; with `take_over`, after waiting until all is known. `None`: a signal came first.
    ///
    /// # Errors
    /// Another agent is here, and is not to be replaced; or the cluster cannot be followed.
    pub(crate) fn make(
        config: &Config,
        source: SourceSettings,
        take_over: bool,
        stop: &Stop,
    ) -> anyhow::Result<Option<Self>> {
        if !take_over || !OnlyOne::is_held() {
            let alone = OnlyOne::here(&config.uplink.interface, &config.socket)?;
            return Ok(Some(Self::Alone(alone)));
        }
        tracing::info!("another agent serves this node; it goes on until this one knows all that it will serve");
        let mut followed = Followed::beside(source).map_err(anyhow::Error::msg)?;
        while !followed.wait(LOOK).map_err(anyhow::Error::msg)? {
            if stop.try_recv().is_ok() {
                return Ok(None);
            }
        }
        Ok(Some(Self::Beside(Box::new(followed))))
    }

    /// The node, for this agent alone, with what is known already.
    ///
    /// # Errors
    /// The other agent does not hand over; it goes on then, or has ended.
    pub(crate) fn take(self, config: &Config) -> anyhow::Result<(OnlyOne, Option<Followed>)> {
        let followed = match self {
            Self::Alone(alone) => return Ok((alone, None)),
            Self::Beside(followed) => followed,
        };
        let asked = Agent::patient(&config.socket, PATIENCE).ask::<()>(&Request::HandOver);
        match OnlyOne::after(&config.uplink.interface, &config.socket, PATIENCE) {
            Ok(alone) => Ok((alone, Some(*followed))),
            Err(err) => Err(asked.err().unwrap_or(err)).context("the other agent does not hand over; stop it first"),
        }
    }
}
