//! Decides what of a revision is measured: `sluice-perf`, built in one place for all revisions, so that paths, options and compiler are the
//! same and only the code differs. The working tree, its branch and its index are never touched.

use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where revisions are checked out and built, by one at a time.
pub(super) struct Workshop {
    root: PathBuf,
    folder: PathBuf,
    _lock: File,
}

/// A revision's program.
#[derive(Debug)]
pub(super) struct Built {
    /// As it was asked for.
    pub(super) name: String,
    pub(super) commit: String,
    /// Its own.
    pub(super) folder: PathBuf,
    pub(super) program: PathBuf,
}

const PROGRAM: &str = "sluice-perf";

impl Workshop {
    /// Of the repository that `here` belongs to.
    pub(super) fn open(here: &Path, folder: &Path) -> Result<Self> {
        let root = git(here, ["rev-parse", "--show-toplevel"])
            .context("this is no git repository; run it in the one whose revisions are to be compared")?;
        let folder = fs::canonicalize(folder).with_context(|| folder.display().to_string())?;
        let path = folder.join("lock");
        let lock = File::create(&path).with_context(|| path.display().to_string())?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                root: root.into(),
                folder,
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => bail!("another comparison is under way in {}", folder.display()),
            Err(TryLockError::Error(err)) => Err(err).with_context(|| path.display().to_string()),
        }
    }

    /// Builds a revision, unless its tree was built before.
    pub(super) fn build(&self, name: &str) -> Result<Built> {
        let commit = if name == "." {
            self.as_it_is()?
        } else {
            self.commit(name)?
        };
        let tree = git(&self.root, ["rev-parse", &format!("{commit}^{{tree}}")])?;
        let folder = self.folder.join(&tree);
        let program = folder.join(PROGRAM);
        if !program.exists() {
            eprintln!("building {name}, {}", short(&commit));
            self.check_out(&commit)?;
            self.compile().with_context(|| format!("{name} does not build"))?;
            self.keep(&folder, &program)?;
        }
        Ok(Built {
            name: name.to_owned(),
            commit: short(&commit).to_owned(),
            folder,
            program,
        })
    }

    pub(super) fn commit(&self, name: &str) -> Result<String> {
        // No revision begins with a dash, and git would take it for an option.
        ensure!(!name.starts_with('-'), "{name}: git knows no such revision");
        git(
            &self.root,
            ["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")],
        )
        .map_err(|_| anyhow::anyhow!("{name}: git knows no such revision"))
    }

    /// A commit of the files as they are, on no branch, made with an index of its own.
    pub(super) fn as_it_is(&self) -> Result<String> {
        let index = self.folder.join("index");
        let own = |args: &[&str]| {
            let mut command = command(&self.root, args);
            command.env("GIT_INDEX_FILE", &index);
            for who in ["GIT_AUTHOR", "GIT_COMMITTER"] {
                command
                    .env(format!("{who}_NAME"), PROGRAM)
                    .env(format!("{who}_EMAIL"), PROGRAM);
            }
            run(command)
        };
        own(&["read-tree", "HEAD"])?;
        own(&["add", "--all"])?;
        let tree = own(&["write-tree"])?;
        own(&["commit-tree", &tree, "-p", "HEAD", "-m", "the files as they are"])
    }

    pub(super) fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    pub(super) fn check_out(&self, commit: &str) -> Result<()> {
        let source = self.source();
        if git(&source, ["rev-parse", "--show-toplevel"]).is_ok_and(|top| Path::new(&top) == source) {
            git(&source, ["checkout", "--quiet", "--force", "--detach", commit])?;
        } else {
            git(&self.root, ["worktree", "prune"])?;
            let add = ["worktree", "add", "--quiet", "--force", "--detach"].map(OsStr::new);
            git(
                &self.root,
                add.into_iter().chain([source.as_os_str(), OsStr::new(commit)]),
            )?;
        }
        Ok(())
    }

    fn compile(&self) -> Result<()> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--release", "--locked", "--package", PROGRAM, "--target-dir"])
            .arg(self.folder.join("target"))
            .current_dir(self.source())
            .status()
            .context("cargo could not be started")?;
        ensure!(status.success(), "cargo build: {status}");
        Ok(())
    }

    fn keep(&self, folder: &Path, program: &Path) -> Result<()> {
        let made = self.folder.join("target/release").join(PROGRAM);
        // Under its name only when it is whole.
        let part = folder.join("part");
        fs::create_dir_all(folder)
            .and_then(|()| fs::copy(&made, &part))
            .and_then(|_| fs::rename(&part, program))
            .with_context(|| format!("{}: the program cannot be kept", program.display()))
    }
}

fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

fn command<I: IntoIterator<Item: AsRef<OsStr>>>(folder: &Path, args: I) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(args);
    command
}

pub(super) fn git<I: IntoIterator<Item: AsRef<OsStr>>>(folder: &Path, args: I) -> Result<String> {
    run(command(folder, args))
}

fn run(mut command: Command) -> Result<String> {
    let output = command.output().context("git could not be started")?;
    ensure!(
        output.status.success(),
        "{:?}: {}",
        command.get_args().collect::<Vec<_>>(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
