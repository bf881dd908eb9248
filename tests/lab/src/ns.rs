//! Network namespaces by name under `/run/netns`, as iproute2 keeps them, and how to run something inside.
//! It never decides what belongs in one.

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

const DIR: &str = "/run/netns";
const NOTHING: Option<&str> = None;

/// Where the namespace `name` is found.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// Creates the namespace `name`; nothing in it is up.
///
/// # Errors
/// The name is taken, or the caller may not create namespaces.
pub(crate) fn create(name: &str) -> Result<()> {
    share_dir()?;
    let path = path(name);
    File::options()
        .write(true)
        .create_new(true)
        .open(&path)
        .with_context(|| format!("network namespace {name}: cannot create {}", path.display()))?;
    let made = on_own_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        mount(
            Some("/proc/thread-self/ns/net"),
            &path,
            NOTHING,
            MsFlags::MS_BIND,
            NOTHING,
        )?;
        Ok(())
    });
    if made.is_err() {
        let _ = fs::remove_file(&path);
    }
    made.with_context(|| format!("network namespace {name}: cannot create it; this needs root (CAP_SYS_ADMIN)"))
}

/// Deletes the namespace `name`. One that is not there is no error.
///
/// # Errors
/// The mount is there and cannot be removed.
pub(crate) fn delete(name: &str) -> Result<()> {
    let path = path(name);
    while umount2(&path, MntFlags::MNT_DETACH).is_ok() {}
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("network namespace {name}: cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Moves the calling thread into the namespace `name`, for good.
///
/// # Errors
/// There is no such namespace, or the caller may not enter it.
pub(crate) fn enter(name: &str) -> io::Result<()> {
    let file = File::open(path(name))?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}

/// Runs `job` on a thread of its own inside the namespace `name`; the caller's thread stays where it is.
///
/// # Errors
/// The namespace cannot be entered, or what `job` returns.
pub(crate) fn within<T: Send>(name: &str, job: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_own_thread(|| {
        enter(name).with_context(|| format!("network namespace {name}: cannot enter it"))?;
        job()
    })
}

/// Starts `command` inside the namespace `name`, as leader of a process group of its own, so that an interrupt typed at
/// the terminal reaches the lab first. Mounts are the caller's: `/sys` shows the caller's interfaces.
///
/// # Errors
/// The namespace cannot be entered or the program cannot be started.
pub(crate) fn spawn(name: &str, command: &mut Command) -> Result<Child> {
    use std::os::unix::process::CommandExt;
    let program = command.get_program().to_string_lossy().into_owned();
    within(name, || {
        command
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {program} in namespace {name}"))
    })
}

fn on_own_thread<T: Send>(job: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| match scope.spawn(job).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// `/run/netns` must be a shared mount, or namespaces stay busy in mount namespaces that were created before.
fn share_dir() -> Result<()> {
    fs::create_dir_all(DIR).with_context(|| format!("cannot create {DIR}"))?;
    let shared = || mount(NOTHING, DIR, NOTHING, MsFlags::MS_SHARED | MsFlags::MS_REC, NOTHING);
    if shared().is_ok() {
        return Ok(());
    }
    let bound = mount(Some(DIR), DIR, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING).and_then(|()| shared());
    ensure!(
        bound.is_ok(),
        "{DIR}: cannot make it a shared mount: {bound:?}; this needs root (CAP_SYS_ADMIN)"
    );
    Ok(())
}
