//! Decides nothing: reads and writes kernel parameters of the network namespace that the calling thread is in.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where a container that is not privileged finds the same parameters to write: its own `/proc/sys` is read-only, and no runtime mounts
/// anything there. Whose parameters these are is the thread's affair at either place.
const BESIDE: &str = "/host/proc/sys/net";

fn path(name: &str) -> PathBuf {
    // `/` separates, so that interface names with dots stay whole.
    PathBuf::from("/proc/sys/net").join(name)
}

/// The value of `/proc/sys/net/<name>`; `None` where the kernel has no such parameter.
///
/// # Errors
/// It is there but cannot be read.
pub fn read(name: &str) -> Result<Option<String>, String> {
    match std::fs::read_to_string(path(name)) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(format!("cannot read {}: {err}", path(name).display())),
    }
}

/// Sets `/proc/sys/net/<name>`, unless it has this value already.
///
/// # Errors
/// The parameter does not exist, the value is refused, or it is read-only at both places.
pub fn write(name: &str, value: &str) -> Result<(), String> {
    if read(name)?.as_deref() == Some(value) {
        return Ok(());
    }
    // With the line feed, as writing nothing at all would leave the old value.
    let text = format!("{value}\n");
    let written = std::fs::write(path(name), &text).or_else(|err| {
        if err.kind() != ErrorKind::ReadOnlyFilesystem {
            return Err(err);
        }
        std::fs::write(Path::new(BESIDE).join(name), &text).map_err(|beside| match beside.kind() {
            ErrorKind::NotFound => err,
            _ => beside,
        })
    });
    written.map_err(|err| {
        let hint = if err.kind() == ErrorKind::ReadOnlyFilesystem {
            format!(
                ". Mount the node's /proc/sys/net writable at {BESIDE} for the agent, as deploy/daemonset.yaml does"
            )
        } else {
            String::new()
        };
        format!("cannot set {} to {value}: {err}{hint}", path(name).display())
    })
}

/// Whether an interface of this namespace may have IPv6 addresses.
///
/// # Errors
/// The parameter cannot be read.
pub fn ipv6_enabled(interface: &str) -> Result<bool, String> {
    Ok(read(&format!("ipv6/conf/{interface}/disable_ipv6"))?.is_some_and(|value| value == "0"))
}
