//! Decides nothing: reads and writes kernel parameters of the network namespace that the calling thread is in.

use std::path::PathBuf;

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
/// The parameter does not exist, the value is refused, or `/proc/sys` is read-only.
pub fn write(name: &str, value: &str) -> Result<(), String> {
    if read(name)?.as_deref() == Some(value) {
        return Ok(());
    }
    // With the line feed, as writing nothing at all would leave the old value.
    std::fs::write(path(name), format!("{value}\n")).map_err(|err| {
        let hint = if err.raw_os_error() == Some(libc::EROFS) {
            ". Mount /proc/sys writable for the agent"
        } else {
            ""
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
