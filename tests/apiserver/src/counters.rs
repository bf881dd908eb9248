//! Decides what is counted of requests and connections. It never decides what the counts mean.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts since the start or the last reset.
#[derive(Debug, Default)]
pub struct Counters {
    requests: Mutex<BTreeMap<(String, String), u64>>,
    /// Connections that were accepted.
    pub connections: AtomicU64,
    /// Bytes written to connections, with TLS's own.
    pub bytes_out: AtomicU64,
    /// Bytes read from connections, with TLS's own.
    pub bytes_in: AtomicU64,
}

impl Counters {
    /// Counts a request.
    pub fn request(&self, verb: &str, resource: &str) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((verb.into(), resource.into())).or_default() += 1;
    }

    /// Requests of a verb on a resource; all resources if it is empty.
    pub fn requests(&self, verb: &str, resource: &str) -> u64 {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let these = requests
            .iter()
            .filter(|((v, r), _)| v == verb && (resource.is_empty() || r == resource));
        these.map(|(_, count)| count).sum()
    }

    /// Starts again from zero.
    pub fn reset(&self) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clear();
        for counter in [&self.connections, &self.bytes_out, &self.bytes_in] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// All of them.
    pub fn json(&self) -> Value {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let rows: Vec<Value> = requests
            .iter()
            .map(|((verb, resource), count)| json!({"verb": verb, "resource": resource, "count": count}))
            .collect();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "requests": rows, "connections": read(&self.connections),
            "bytes_out": read(&self.bytes_out), "bytes_in": read(&self.bytes_in),
        })
    }
}
