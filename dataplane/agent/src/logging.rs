//! Decides where the agent's own messages go and which are written, also while it runs. It never sees a packet.

use crate::config::{LogConfig, LogFormat};
use anyhow::Context;
use std::io::IsTerminal;
use std::sync::{Mutex, OnceLock, PoisonError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// What is written at start, what is written now, and how to change it.
struct Running {
    at_start: String,
    now: Mutex<String>,
    handle: reload::Handle<EnvFilter, Registry>,
}

static RUNNING: OnceLock<Running> = OnceLock::new();
/// What goes wrong with the API server is said once, with what follows from it; its client says it again each time.
const QUIET: &str = "kube_client=off";

/// Starts the log, to standard error. `RUST_LOG`, where it is set, is stronger than the configured level and can name modules, such as
/// `info,sluice_control=debug`.
///
/// # Errors
/// `RUST_LOG` cannot be understood.
pub(crate) fn start(config: &LogConfig) -> anyhow::Result<()> {
    let (filter, handle) = reload::Layer::new(filter(config, std::env::var(EnvFilter::DEFAULT_ENV).ok().as_deref())?);
    let at_start = handle.with_current(EnvFilter::to_string).unwrap_or_default();
    let lines = match config.format {
        LogFormat::Human => {
            let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let colour = std::io::stderr().is_terminal() && !unwanted;
            let lines = fmt::layer().with_writer(std::io::stderr);
            lines.compact().with_target(false).with_ansi(colour).boxed()
        }
        LogFormat::Json => fmt::layer()
            .with_writer(std::io::stderr)
            .json()
            .flatten_event(true)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .context("cannot start the log")?;
    let now = Mutex::new(at_start.clone());
    let _ = RUNNING.set(Running { at_start, now, handle });
    Ok(())
}

/// What is written now; with `wanted`, from now on that: a level, levels of modules, or `default` for what it was at start.
///
/// # Errors
/// `wanted` cannot be understood; the log stays as it is.
pub(crate) fn filter_now(wanted: Option<&str>) -> Result<String, String> {
    let running = RUNNING.get().ok_or("this agent's log was not started")?;
    let mut now = running.now.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(wanted) = wanted {
        let (text, filter) = wanted_filter(wanted, &running.at_start)?;
        running
            .handle
            .reload(filter)
            .map_err(|err| format!("the log cannot be changed: {err}"))?;
        tracing::info!(filter = %text, before = %*now, "log changed");
        *now = text;
    }
    Ok(now.clone())
}

fn wanted_filter(wanted: &str, at_start: &str) -> Result<(String, EnvFilter), String> {
    let text = match wanted.trim() {
        "default" => at_start.to_owned(),
        wanted if LEVELS.contains(&wanted) => format!("{wanted},{QUIET}"),
        wanted => wanted.to_owned(),
    };
    let wrong = || {
        format!(
            "log filter `{}` cannot be understood; want one of {}, or module=level, such as info,sluice_control=debug, or `default`",
            wanted.escape_debug().take(60).collect::<String>(),
            LEVELS.join(", ")
        )
    };
    // A bare word that is no level would be taken for the name of a module, and silence everything else.
    let known = text
        .split(',')
        .all(|part| part.contains('=') || LEVELS.contains(&part.trim()));
    let filter = Some(&text)
        .filter(|text| known && !text.is_empty())
        .and_then(|text| EnvFilter::try_new(text).ok());
    filter.map(|filter| (text, filter)).ok_or_else(wrong)
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

fn filter(config: &LogConfig, from_environment: Option<&str>) -> anyhow::Result<EnvFilter> {
    match from_environment.filter(|text| !text.trim().is_empty()) {
        None => Ok(EnvFilter::new(format!("{},{QUIET}", config.level))),
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

    #[test]
    fn a_filter_that_is_asked_for_is_understood_or_refused_with_what_is_wanted() {
        let asked = |text| wanted_filter(text, "info,kube_client=off").map(|(text, _)| text);
        assert_eq!(asked("debug").unwrap(), "debug,kube_client=off");
        assert_eq!(asked(" default ").unwrap(), "info,kube_client=off");
        assert_eq!(
            asked("warn,sluice_control::run=trace").unwrap(),
            "warn,sluice_control::run=trace"
        );
        for wrong in ["", "loud", "debug,loud", "a=b=c", "info,sluice=loud", "[", "\n"] {
            let told = asked(wrong).unwrap_err();
            assert!(told.contains("want one of off, error, warn"), "{wrong}: {told}");
        }
    }
}
