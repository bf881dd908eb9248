//! Decides what counts as a network namespace, and runs work inside one. It never changes the namespace of the calling
//! thread.

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs, statfs};
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Which namespace a path leads to: device and inode of the namespace's file, unique while the namespace lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct NetnsId {
    /// Device of the namespace file system.
    pub dev: u64,
    /// Inode of the namespace.
    pub ino: u64,
}

impl NetnsId {
    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn current() -> Result<Self, String> {
        of(Path::new("/proc/thread-self/ns/net"))
    }
}

/// The namespace that `path` leads to.
///
/// # Errors
/// Nothing there, or no namespace file. A person reads it.
pub fn of(path: &Path) -> Result<NetnsId, String> {
    let file = open(path)?;
    let meta = file
        .metadata()
        .map_err(|err| format!("cannot look at {}: {err}", path.display()))?;
    Ok(NetnsId {
        dev: meta.dev(),
        ino: meta.ino(),
    })
}

/// Opens a namespace file. What is no namespace is not even opened, as opening a device or a FIFO may have effects.
fn open(path: &Path) -> Result<File, String> {
    let no_namespace = || {
        format!(
            "{} is no network namespace (no namespace is mounted there). Give a path such as /var/run/netns/NAME or /proc/PID/ns/net",
            path.display()
        )
    };
    let about = |err: io::Error| match err.kind() {
        io::ErrorKind::NotFound => format!("network namespace {} does not exist", path.display()),
        _ => format!("cannot open network namespace {}: {err}", path.display()),
    };
    let fs = statfs(path).map_err(|errno| about(errno.into()))?;
    if fs.filesystem_type() != NSFS_MAGIC {
        return Err(no_namespace());
    }
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).bits();
    let file = File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(about)?;
    let fs = fstatfs(&file).map_err(|errno| about(errno.into()))?;
    if fs.filesystem_type() == NSFS_MAGIC {
        Ok(file)
    } else {
        Err(no_namespace())
    }
}

/// Runs `work` inside the network namespace at `path`, on a thread of its own that ends afterwards.
///
/// # Errors
/// The path is no network namespace, it cannot be entered, `work` fails, or it panics.
pub fn within<T: Send>(path: &Path, work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    let namespace = open(path)?;
    std::thread::scope(|scope| {
        let body = || {
            setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
                nix::errno::Errno::EINVAL => format!("{} is a namespace, but no network namespace", path.display()),
                nix::errno::Errno::EPERM => {
                    format!("cannot enter network namespace {}: needs CAP_SYS_ADMIN", path.display())
                }
                other => format!("cannot enter network namespace {}: {}", path.display(), other.desc()),
            })?;
            work()
        };
        let thread = std::thread::Builder::new()
            .name("sluice-netns".into())
            .spawn_scoped(scope, body)
            .map_err(|err| format!("cannot start a thread for network namespace {}: {err}", path.display()))?;
        thread
            .join()
            .unwrap_or_else(|_| Err(format!("the work in network namespace {} panicked", path.display())))
    })
}

/// Runs netlink work inside the network namespace at `path`, likewise.
///
/// # Errors
/// As [`within`], or no netlink socket can be had there.
pub fn with_netlink<T, F>(path: &Path, work: impl FnOnce(rtnetlink::Handle) -> F + Send) -> Result<T, String>
where
    T: Send,
    F: Future<Output = Result<T, String>>,
{
    within(path, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|err| format!("cannot make a runtime: {err}"))?;
        runtime.block_on(async { work(super::connect()?).await })
    })
}
