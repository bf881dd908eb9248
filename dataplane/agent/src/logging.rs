//! Decides where the agent's own messages go and which are written. It never sees a packet.

use crate::config::{LogConfig, LogFormat};
use anyhow::Context;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts the log, to standard error. `RUST_LOG`, where it is set, is stronger than the configured level and can name modules, such as
/// `info,sluice_control=debug`.
///
/// # Errors
/// `RUST_LOG` cannot be understood.
pub(crate) fn start(config: &LogConfig) -> anyhow::Result<()> {
    let filter = filter(config, std::env::var(EnvFilter::DEFAULT_ENV).ok().as_deref())?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.format {
        LogFormat::Human => {
            let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let colour = std::io::stderr().is_terminal() && !unwanted;
            log.compact().with_target(false).with_ansi(colour).finish().try_init()
        }
        LogFormat::Json => log.json().flatten_event(true).finish().try_init(),
    }
    .context("cannot start the log")
}

fn filter(config: &LogConfig, from_environment: Option<&str>) -> anyhow::Result<EnvFilter> {
    match from_environment.filter(|text| !text.trim().is_empty()) {
        // What goes wrong with the API server is said once, with what follows from it; its client says it again each time.
        None => Ok(EnvFilter::new(format!("{},kube_client=off", config.level))),
        Some(text) => EnvFilter::try_new(text).with_context(|| {
            format!("environment variable RUST_LOG is `{text}`, which cannot be understood; want a level such as debug, or module=level")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;
    use tracing_subscriber::filter::LevelFilter;

    #[test]
    fn the_environment_is_stronger_than_the_configuration() {
        let config = LogConfig {
            level: Level::WARN,
            format: LogFormat::Human,
        };
        let level = |text| filter(&config, text).map(|filter| filter.max_level_hint());
        assert_eq!(level(None).unwrap(), Some(LevelFilter::WARN));
        assert_eq!(level(Some(" ")).unwrap(), Some(LevelFilter::WARN));
        assert_eq!(
            level(Some("warn,sluice_control=debug")).unwrap(),
            Some(LevelFilter::DEBUG)
        );
        assert!(
            level(Some("sluice=loud"))
                .unwrap_err()
                .to_string()
                .starts_with("environment variable RUST_LOG is `sluice=loud`")
        );
    }
}
