//! Decides what is answered over HTTP: probes and metrics. It never answers anything else, nor anybody at length.
//!
//! `/livez`, `/readyz` and `/metrics` are for the node's own people (`health.address`); `/healthz`, with `/livez`, is for load balancers, in
//! kube-proxy's words and at its port (`health.healthz`). It runs on a thread of its own, so that a control loop that stands is told and
//! not only silent.

mod answer;
mod serve;
mod vitals;

pub(crate) use vitals::Vitals;

use crate::api::Call;
use serve::Server;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Where probes and metrics are served; `None`: nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthSettings {
    /// `/livez`, `/readyz` and `/metrics`.
    pub address: Option<SocketAddr>,
    /// `/healthz` and `/livez`.
    pub healthz: Option<SocketAddr>,
}

/// Which paths a listener answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Node,
    LoadBalancers,
}

/// The thread that answers; it ends with this value.
#[derive(Debug)]
pub(crate) struct Health {
    troubles: Arc<Mutex<Vec<(SocketAddr, String)>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Health {
    /// Answers from now on, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The thread cannot be started. An address that is taken is no error: it is told and tried again.
    pub(crate) fn start(
        settings: HealthSettings,
        vitals: Arc<Vitals>,
        calls: mpsc::Sender<Call>,
    ) -> Result<Self, String> {
        let troubles = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let server = Server {
            vitals,
            calls,
            troubles: troubles.clone(),
        };
        let body = move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(serve::all(settings, Arc::new(server), stopped)),
            Err(err) => tracing::error!("probes and metrics are not answered: {err}"),
        };
        let thread = std::thread::Builder::new()
            .name("sluice-health".into())
            .spawn(body)
            .map_err(|err| format!("cannot start the thread that answers probes: {err}"))?;
        Ok(Self {
            troubles,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// What cannot be served now, and why.
    pub(crate) fn troubles(&self) -> Vec<(SocketAddr, String)> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that answers probes panicked; please report this");
        }
    }
}

#[cfg(test)]
mod tests;
