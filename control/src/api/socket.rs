//! How the agent's socket comes into being and goes: mode 0600 from its first moment, never taken from a living agent.

use std::fs::{DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Longest path that fits a socket address (`sun_path`, with its final zero).
const LONGEST: usize = 107;

/// A bound socket; the file goes with it.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    inode: (u64, u64),
}

impl Socket {
    /// Binds `path`, in place of what a dead agent left there. The socket gets its mode in a private directory beside
    /// its place and is moved then, so that nobody can connect to it before.
    ///
    /// # Errors
    /// Another agent answers there, something else than a socket is there, or the directory cannot be written.
    pub fn bind(path: &Path) -> Result<(Self, UnixListener), String> {
        let about = |what: &str, err: std::io::Error| format!("cannot {what} socket {}: {err}", path.display());
        if path.as_os_str().len() > LONGEST - 20 {
            return Err(format!(
                "socket path {} is too long: want at most {} bytes",
                path.display(),
                LONGEST - 20
            ));
        }
        refuse_if_alive(path)?;
        let parent = path
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(|err| about("make the directory of", err))?;
        // The name is short because it counts towards the length of a socket address.
        let private = parent.join(format!(".sl{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&private);
        DirBuilder::new()
            .mode(0o700)
            .create(&private)
            .map_err(|err| about("make a private directory for", err))?;
        let result = (|| {
            let inside = private.join("s");
            let listener = UnixListener::bind(&inside).map_err(|err| about("bind", err))?;
            std::fs::set_permissions(&inside, Permissions::from_mode(0o600))
                .map_err(|err| about("set the mode of", err))?;
            listener.set_nonblocking(true).map_err(|err| about("prepare", err))?;
            let meta = std::fs::metadata(&inside).map_err(|err| about("look at", err))?;
            std::fs::rename(&inside, path).map_err(|err| about("move into place", err))?;
            Ok((
                Self {
                    path: path.to_owned(),
                    inode: (meta.dev(), meta.ino()),
                },
                listener,
            ))
        })();
        let _ = std::fs::remove_dir_all(&private);
        result
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // By now the path may be another agent's.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn refuse_if_alive(path: &Path) -> Result<(), String> {
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(format!("cannot look at {}: {err}", path.display())),
    };
    if !meta.file_type().is_socket() {
        return Err(format!(
            "{} is there and is no socket; remove it, or name another place for the socket",
            path.display()
        ));
    }
    match UnixStream::connect(path) {
        Err(err) if matches!(err.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        Ok(_) => Err(format!(
            "another agent answers at {}; stop it first, or name another socket",
            path.display()
        )),
        Err(err) => Err(format!(
            "cannot tell whether another agent lives at {}: {err}",
            path.display()
        )),
    }
}
