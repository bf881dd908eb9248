//! SIGTERM and SIGINT as a message.

use crate::run::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Hears of the first signal that asks the agent to stop.
pub(crate) fn stop_requested() -> std::io::Result<Stop> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (tell, stop) = crossbeam::channel::bounded(1);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if signals.forever().next().is_some() {
            // The agent may have ended by itself meanwhile.
            let _ = tell.send(());
        }
    })?;
    Ok(stop)
}
