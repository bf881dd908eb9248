//! Decides where the program's link is kept so that it outlives the agent. It never knows what the program does.

use super::steering::SteeringError;
use crate::afxdp::Attach;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{FsType, statfs};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// `BPF_FS_MAGIC`, include/uapi/linux/magic.h.
const BPF_FS: FsType = FsType(0xcafe_4a11);
const USUAL: &str = "/sys/fs/bpf";

/// Makes sure that `directory` exists and lies on a BPF file system, mounting one if need be: at the usual place when the
/// directory is below that, else at the directory itself.
pub(super) fn ensure_bpffs(directory: &Path) -> Result<(), SteeringError> {
    let fail = |source: io::Error| SteeringError::PinDirectory {
        directory: directory.to_owned(),
        source,
    };
    if directory.starts_with(USUAL) && !is_bpffs(USUAL.as_ref()) {
        mount_at(USUAL.as_ref()).map_err(|e| fail(e.into()))?;
    }
    fs::create_dir_all(directory).map_err(fail)?;
    if !is_bpffs(directory) {
        mount_at(directory).map_err(|e| fail(e.into()))?;
    }
    Ok(())
}

fn is_bpffs(directory: &Path) -> bool {
    statfs(directory).is_ok_and(|fs| fs.filesystem_type() == BPF_FS)
}

fn mount_at(directory: &Path) -> Result<(), Errno> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpffs"), directory, Some("bpf"), flags, Some("mode=0700"))
}

/// Name of the pin of an interface's link. The mode is part of it, as the kernel does not tell it of a link.
pub(super) fn path(directory: &Path, ifindex: u32, attach: Attach) -> PathBuf {
    let mode = match attach {
        Attach::Native => "native",
        Attach::Generic => "generic",
    };
    directory.join(format!("uplink-{ifindex}-{mode}"))
}

/// Removes pins of interfaces that do not exist any more.
pub(super) fn sweep(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let index = name
            .to_str()
            .and_then(|name| name.strip_prefix("uplink-")?.split_once('-')?.0.parse().ok());
        if let Some(index) = index
            && !exists(index)
        {
            tracing::info!(pin = %entry.path().display(), "removing the pin of an interface that is gone");
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether the namespace has an interface of this index.
fn exists(index: u32) -> bool {
    // nix 0.31 answers with an empty name where there is none.
    nix::net::if_::if_indextoname(index).is_ok_and(|name| !name.is_empty())
}
