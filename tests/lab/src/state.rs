//! What is remembered of a lab in `/run/sluice-lab/<name>/`, and how it is taken down by whoever holds that record.
//! It never builds anything.

use crate::ns;
use crate::process::{self, Process};
use crate::topology::Topology;
use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ROOT: &str = "/run/sluice-lab";
/// Time that processes get to end by themselves.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything that must go when the lab goes. Written before the things it names are made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) name: String,
    /// The process that builds and owns the lab.
    pub(crate) owner: Process,
    /// The lab stays when its owner ends.
    pub(crate) kept: bool,
    /// Names of namespaces.
    pub(crate) namespaces: Vec<String>,
    pub(crate) processes: Vec<Process>,
    /// Directories of pinned BPF objects.
    pub(crate) pins: Vec<PathBuf>,
    pub(crate) topology: Topology,
}

/// Folder of the lab `name`: record, logs, sockets, configurations, `manifests/`.
pub(crate) fn dir(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

impl Record {
    pub(crate) fn load(name: &str) -> Result<Record> {
        let path = dir(name).join("lab.json");
        let Ok(text) = fs::read(&path) else {
            bail!("there is no lab `{name}`; `sluice-lab list` shows those that are up");
        };
        serde_json::from_slice(&text).with_context(|| format!("lab {name}: {} is damaged", path.display()))
    }

    /// Writes the record; readers see the old one or the new one.
    pub(crate) fn save(&self) -> Result<()> {
        replace(&dir(&self.name).join("lab.json"), &serde_json::to_vec_pretty(self)?)
    }

    /// Nobody looks after this lab: it was not meant to stay, and its owner is gone.
    pub(crate) fn abandoned(&self) -> bool {
        !self.kept && !self.owner.alive()
    }

    /// Ends its processes, removes pins, namespaces and the folder. Goes on after a failure and reports the first.
    pub(crate) fn take_down(&self) -> Result<()> {
        process::end(&self.processes, PATIENCE);
        let mut result = Ok(());
        for pin in &self.pins {
            let _ = nix::mount::umount2(pin, nix::mount::MntFlags::MNT_DETACH);
            if pin.exists() {
                let gone = fs::remove_dir_all(pin).with_context(|| format!("cannot remove pins in {}", pin.display()));
                result = result.and(gone);
            }
        }
        for name in &self.namespaces {
            result = result.and(ns::delete(name));
        }
        let dir = dir(&self.name);
        if result.is_ok() && dir.exists() {
            result = fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()));
        }
        result.with_context(|| format!("lab {}: not everything could be taken down", self.name))
    }
}

/// Names of all labs that have left a record.
pub(crate) fn names() -> Vec<String> {
    let entries = fs::read_dir(ROOT).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|e| e.path().join("lab.json").exists())
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Held while labs appear or disappear, over all processes.
pub(crate) fn lock() -> Result<Flock<File>> {
    fs::create_dir_all(ROOT).with_context(|| format!("cannot create {ROOT}; the lab needs root"))?;
    let file = File::create(Path::new(ROOT).join(".lock")).with_context(|| format!("cannot lock {ROOT}"))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| anyhow::anyhow!("cannot lock {ROOT}: {e}"))
}

/// Claims the name of `record`: what an abandoned predecessor left is removed first, as is every other abandoned lab.
pub(crate) fn claim(record: &Record) -> Result<()> {
    let _lock = lock()?;
    for name in names() {
        match Record::load(&name) {
            Ok(old) if old.abandoned() => old.take_down()?,
            Ok(_) if name == record.name => {
                bail!("lab {name} is up already; take it down with `sluice-lab down {name}`, or choose another name")
            }
            Err(e) if name == record.name => return Err(e),
            _ => {}
        }
    }
    let dir = dir(&record.name);
    fs::create_dir_all(dir.join("manifests")).with_context(|| format!("cannot create {}", dir.display()))?;
    record.save()
}

/// Writes `path` so that readers see either the old content or the new, never a part.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let scratch = path.with_file_name(format!(".{name}.{:?}", std::thread::current().id()));
    let write = || {
        let mut file = File::create(&scratch)?;
        file.write_all(content)?;
        fs::rename(&scratch, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
