//! Decides in which network namespace a piece of set-up work runs. It never changes the namespace of the calling thread.

use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io;
use std::path::Path;

/// Runs `work` inside the network namespace at `path`, on a thread of its own that ends afterwards; without a path it
/// runs where the caller is. Sockets and tap descriptors that `work` returns keep belonging to that namespace.
///
/// # Errors
/// The namespace cannot be opened or entered (needs CAP_SYS_ADMIN), no thread can be made, or `work` panicked.
pub fn within<T: Send>(path: Option<&Path>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let Some(path) = path else { return Ok(work()) };
    let about = |what: &str, err: io::Error| {
        let hint = match err.raw_os_error() {
            Some(libc::ENOENT) => ". It is gone, or was never there",
            Some(libc::EPERM) => ". Run with CAP_SYS_ADMIN",
            _ => "",
        };
        io::Error::new(
            err.kind(),
            format!("cannot {what} network namespace {}: {err}{hint}", path.display()),
        )
    };
    let namespace = File::open(path).map_err(|err| about("open", err))?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("sluice-netns".into())
            .spawn_scoped(scope, || {
                setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| about("enter", errno.into()))?;
                Ok(work())
            })?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("work in a network namespace panicked")))
    })
}
