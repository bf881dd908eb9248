//! How the list of attachments is kept over restarts.

use super::Attachment;
use super::request::check_interface;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const NAME: &str = "attachments.json";
/// Format of the file: another one is refused whole, as half of it may mean something else.
const VERSION: u32 = 1;
/// Larger files are not ours.
const LARGEST: u64 = 16 << 20;

/// What every format has.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    /// Boot in which it was written: namespaces do not outlive it, and their numbers are given anew.
    boot: String,
    attachments: Vec<Attachment>,
}

/// Reads the list; empty when there is no file, or one from before the last boot.
///
/// # Errors
/// The file cannot be read or is not whole. Guessing would leave pods without a network and without a message, so a
/// person decides.
pub fn load(state_dir: &Path) -> Result<Vec<Attachment>, String> {
    let path = state_dir.join(NAME);
    let mut bytes = Vec::new();
    match File::open(&path) {
        Ok(file) => {
            file.take(LARGEST + 1)
                .read_to_end(&mut bytes)
                .map_err(|err| format!("cannot read {}: {err}", path.display()))?;
        }
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(format!("cannot open {}: {err}", path.display())),
    }
    let damaged = |why: String| {
        format!(
            "{} is damaged: {why}. It lists the attached pods. Move it away and attach the pods again (restart them, or `sluice attach` each)",
            path.display()
        )
    };
    if bytes.len() as u64 > LARGEST {
        return Err(damaged(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    let head: Head = serde_json::from_slice(&bytes).map_err(|err| damaged(err.to_string()))?;
    if head.version != VERSION {
        return Err(format!(
            "{} was written by another release: its version is {}, and this agent reads version {VERSION}. It lists the attached \
             pods. Start the release that wrote it, or move the file away and attach the pods again (restart them, or `sluice \
             attach` each)",
            path.display(),
            head.version
        ));
    }
    let contents: Contents = serde_json::from_slice(&bytes).map_err(|err| damaged(err.to_string()))?;
    for attachment in &contents.attachments {
        check_interface(&attachment.interface).map_err(damaged)?;
    }
    let boot = crate::kernel::ports::boot_id()?;
    Ok(if contents.boot == boot {
        contents.attachments
    } else {
        Vec::new()
    })
}

/// Replaces the list as a whole: after a crash there is the old one or the new one.
///
/// # Errors
/// The file cannot be written.
pub fn save<'a>(state_dir: &Path, attachments: impl Iterator<Item = &'a Attachment>) -> Result<(), String> {
    let path = state_dir.join(NAME);
    let boot = crate::kernel::ports::boot_id()?;
    let contents = Contents {
        version: VERSION,
        boot,
        attachments: attachments.cloned().collect(),
    };
    let bytes =
        serde_json::to_vec_pretty(&contents).map_err(|err| format!("cannot write {}: {err}", path.display()))?;
    write_atomically(&path, &bytes)
}

/// Writes a file of mode 0600 under another name beside it, syncs it and moves it into place.
///
/// # Errors
/// Any of it fails; the old file is still there then.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let mut beside = PathBuf::from(path).into_os_string();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let failed = |err: std::io::Error| format!("cannot write {}: {err}", path.display());
    // One that was left by a crash may have any mode and content.
    match std::fs::remove_file(&beside) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(failed(err)),
        _ => {}
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)?;
    if let Some(dir) = path.parent() {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    }
    Ok(())
}
