//! Decides how long to wait for the agent and what to say when it does not answer. It never retries: the agent may have done what was asked.

use anyhow::{anyhow, bail};
use serde::de::DeserializeOwned;
use sluice_control::api::{Reply, Request};
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// The agent gives up on an answer after 30 s and says so.
const PATIENCE: Duration = Duration::from_secs(40);
/// Longest answer; ten thousand connections are about 4 MiB.
const MOST_BYTES: u64 = 1 << 30;

/// The agent behind a socket.
pub(crate) struct Agent {
    socket: PathBuf,
    patience: Duration,
}

impl Agent {
    pub(super) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.into(),
            patience: PATIENCE,
        }
    }

    /// One that has to answer in this time.
    pub(crate) fn patient(socket: &Path, patience: Duration) -> Self {
        Self {
            socket: socket.into(),
            patience,
        }
    }

    /// The same agent, which has to answer in this time.
    pub(super) fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Asks, and reads the answer.
    pub(crate) fn ask<T: DeserializeOwned>(&self, request: &Request) -> anyhow::Result<T> {
        let request = line_of(request)?;
        let line = self.in_time(move |socket| talk(UnixStream::connect(socket)?, request.as_bytes()))?;
        if line.is_empty() {
            bail!(
                "the agent at {} closed the connection without an answer; it may be stopping, its log says more",
                self.socket.display()
            );
        }
        self.understand(&line)
    }

    /// Asks the same again and again, until `enough` says so of an answer. All over one connection, so that an agent that ends is noticed
    /// even if another one is there at once.
    pub(super) fn watch<T: DeserializeOwned>(
        &self,
        request: &Request,
        every: Duration,
        mut enough: impl FnMut(T) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let request = line_of(request)?;
        let stream = self.in_time(|socket| UnixStream::connect(socket))?;
        loop {
            let (stream, request) = (stream.try_clone()?, request.clone());
            let line = self.in_time(move |_| talk(stream, request.as_bytes()))?;
            if line.is_empty() {
                bail!(
                    "the agent at {} has gone: it closed the connection. `sluice status` says whether it runs again",
                    self.socket.display()
                );
            }
            if enough(self.understand(&line)?)? {
                return Ok(());
            }
            std::thread::sleep(every);
        }
    }

    fn understand<T: DeserializeOwned>(&self, line: &[u8]) -> anyhow::Result<T> {
        match serde_json::from_slice(line) {
            Ok(Reply::Ok(value)) => Ok(value),
            Ok(Reply::Error(text)) => Err(anyhow!(text)),
            Err(err) => {
                let (socket, version) = (self.socket.display(), env!("CARGO_PKG_VERSION"));
                bail!(
                    "what answers at {socket} is not understood by sluice {version}: {err}. Use the version of sluice that runs as the agent"
                )
            }
        }
    }

    /// On a thread of its own, because connecting to a socket whose owner hangs cannot be given a time.
    fn in_time<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, Error> + Send + 'static,
    ) -> anyhow::Result<T> {
        let (tell, told) = mpsc::channel();
        let path = self.socket.clone();
        std::thread::spawn(move || {
            // Nobody listens any more when this took too long.
            let _ = tell.send(work(&path));
        });
        match told.recv_timeout(self.patience) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(err)) => Err(anyhow!(self.explain(&err))),
            Err(_) => bail!(
                "no answer from the agent at {} within {} s; what was asked may still be done. Its log says what it is busy with",
                self.socket.display(),
                self.patience.as_secs(),
            ),
        }
    }

    fn explain(&self, err: &Error) -> String {
        const START: &str =
            "Start it with  sluice run  or name its socket with --socket (key `socket` of its configuration)";
        let socket = self.socket.display();
        match err.kind() {
            ErrorKind::NotFound => format!("no agent runs here: there is no socket {socket}. {START}"),
            ErrorKind::ConnectionRefused if !is_socket(&self.socket) => {
                format!("{socket} is no socket. Name the agent's with --socket (key `socket` of its configuration)")
            }
            ErrorKind::ConnectionRefused => {
                format!("no agent runs here: the one that made {socket} has ended. {START}")
            }
            ErrorKind::PermissionDenied => {
                format!(
                    "may not talk to the agent at {socket}: only the user who runs it may. Run this command as that user, usually root"
                )
            }
            _ => format!("cannot talk to the agent at {socket}: {err}"),
        }
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

fn line_of(request: &Request) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string(request)?))
}

fn talk(mut stream: UnixStream, request: &[u8]) -> Result<Vec<u8>, Error> {
    // An agent that refuses a client answers before it is asked, and closes.
    let sent = stream.write_all(request);
    let mut line = Vec::new();
    let read = BufReader::new(stream).take(MOST_BYTES).read_until(b'\n', &mut line);
    match (read, sent) {
        (Ok(_), _) if !line.is_empty() => Ok(line),
        (Err(err), _) if err.kind() != ErrorKind::ConnectionReset => Err(err),
        (_, Err(err)) if !matches!(err.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Err(err),
        _ => Ok(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("sl-cli-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// What the command says when something at the socket answers `answer` to one request.
    fn answered(name: &str, answer: &'static [u8]) -> Result<u32, String> {
        let dir = Dir::new(name);
        let path = dir.0.join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut asked = String::new();
            BufReader::new(&stream).read_line(&mut asked).unwrap();
            (&stream).write_all(answer).unwrap();
            asked
        });
        let said = Agent::new(&path)
            .ask::<u32>(&Request::Status)
            .map_err(|err| err.to_string());
        assert_eq!(server.join().unwrap(), "{\"verb\":\"status\"}\n");
        said.map_err(|text| text.replace(&path.display().to_string(), "SOCKET"))
    }

    #[test]
    fn answers_are_read_and_the_agents_errors_are_passed_on() {
        assert_eq!(answered("ok", b"{\"ok\":7}\n"), Ok(7));
        assert_eq!(
            answered("error", b"{\"error\":\"pod a/b: no room\"}\n"),
            Err("pod a/b: no room".into())
        );
    }

    #[test]
    fn nonsense_and_silence_are_explained() {
        let text = answered("nonsense", b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap_err();
        assert!(
            text.starts_with("what answers at SOCKET is not understood by sluice"),
            "{text}"
        );
        let text = answered("closed", b"").unwrap_err();
        assert!(
            text.starts_with("the agent at SOCKET closed the connection without an answer"),
            "{text}"
        );
    }

    #[test]
    fn who_is_not_there_is_named_with_what_to_do() {
        let dir = Dir::new("nobody");
        let path = dir.0.join("s");
        let said = || Agent::new(&path).ask::<()>(&Request::Status).unwrap_err().to_string();
        assert!(
            said().contains("there is no socket") && said().contains("sluice run"),
            "{}",
            said()
        );
        drop(UnixListener::bind(&path).unwrap());
        assert!(
            said().contains("has ended") && said().contains("sluice run"),
            "{}",
            said()
        );
    }

    #[test]
    fn an_agent_that_goes_while_it_is_watched_is_missed() {
        let dir = Dir::new("goes");
        let path = dir.0.join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(&stream).lines();
            for n in 1..=2 {
                assert_eq!(lines.next().unwrap().unwrap(), "{\"verb\":\"status\"}");
                writeln!(&stream, "{{\"ok\":{n}}}").unwrap();
            }
        });
        let mut seen = Vec::new();
        let watched = Agent::new(&path).watch(&Request::Status, Duration::from_millis(1), |n: u32| {
            seen.push(n);
            Ok(false)
        });
        server.join().unwrap();
        let text = watched.unwrap_err().to_string();
        assert!(text.contains("has gone") && text.contains("sluice status"), "{text}");
        assert_eq!(seen, [1, 2]);
    }

    #[test]
    fn an_agent_that_hangs_is_given_up_on() {
        let dir = Dir::new("hangs");
        let path = dir.0.join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let agent = Agent {
            patience: Duration::from_millis(50),
            ..Agent::new(&path)
        };
        let text = agent.ask::<()>(&Request::Status).unwrap_err().to_string();
        assert!(text.starts_with("no answer from the agent at"), "{text}");
    }
}
