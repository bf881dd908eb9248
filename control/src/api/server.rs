//! Decides how much of a client's bytes, time and company the agent bears. It never looks into a request beyond its
//! form.

use super::Request;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// What a client may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Clients at one time.
    pub connections: usize,
    /// Bytes of a request.
    pub line_bytes: usize,
    /// How long a client may be silent, or take to read an answer.
    pub patience: Duration,
    /// How long an answer may take to make.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 32,
            line_bytes: 64 << 10,
            patience: Duration::from_secs(30),
            answer: Duration::from_secs(30),
        }
    }
}

/// A request on its way to whoever answers it.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes: JSON, or a text for a person.
    pub answer: oneshot::Sender<Result<String, String>>,
}

/// Serves clients until the receiver of `calls` is dropped.
pub async fn serve(listener: UnixListener, limits: Limits, calls: mpsc::Sender<Call>) {
    let room = Arc::new(Semaphore::new(limits.connections));
    while !calls.is_closed() {
        let accepted = tokio::select! {
            () = calls.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((mut stream, _)) = accepted else {
            // Out of descriptors, most likely: others are closed soon.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        match room.clone().try_acquire_owned() {
            Ok(place) => {
                let calls = calls.clone();
                tokio::spawn(async move {
                    client(stream, limits, calls).await;
                    drop(place);
                });
            }
            Err(_) => {
                let text = format!(
                    "{} clients are connected already, and more are not served; try again",
                    limits.connections
                );
                // Never waits: the socket's buffer is empty.
                let _ = timeout(Duration::from_millis(10), stream.write_all(line(Err(text)).as_bytes())).await;
            }
        }
    }
}

async fn client(stream: UnixStream, limits: Limits, calls: mpsc::Sender<Call>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let (answer, last) = match timeout(limits.patience, request_line(&mut read, limits.line_bytes)).await {
            Err(_) | Ok(Ok(None)) => return,
            Ok(Err(text)) => (Err(text), true),
            Ok(Ok(Some(bytes))) => (answer(&bytes, limits, &calls).await, false),
        };
        let sent = timeout(limits.patience, write.write_all(line(answer).as_bytes())).await;
        if last || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

/// The next line without its end; `None` when the client has closed.
async fn request_line(read: &mut BufReader<OwnedReadHalf>, most: usize) -> Result<Option<Vec<u8>>, String> {
    let mut bytes = Vec::new();
    let mut limited = read.take(most as u64 + 1);
    match limited.read_until(b'\n', &mut bytes).await {
        Err(_) => Ok(None),
        Ok(_) if bytes.last() == Some(&b'\n') => {
            bytes.pop();
            Ok(Some(bytes))
        }
        Ok(_) if bytes.len() > most => Err(format!("the request is longer than {most} bytes")),
        Ok(_) if bytes.is_empty() => Ok(None),
        Ok(_) => Err("the request ends without a line feed".into()),
    }
}

async fn answer(bytes: &[u8], limits: Limits, calls: &mpsc::Sender<Call>) -> Result<String, String> {
    let request = Request::parse(bytes)?;
    let stopping = || "the agent is stopping".to_owned();
    let (sender, receiver) = oneshot::channel();
    let asked = async {
        calls
            .send(Call {
                request,
                answer: sender,
            })
            .await
            .map_err(|_| stopping())?;
        receiver.await.map_err(|_| stopping())?
    };
    let slow = || {
        format!(
            "no answer within {} s: the agent is busy, and what was asked may still be done",
            limits.answer.as_secs()
        )
    };
    timeout(limits.answer, asked).await.unwrap_or_else(|_| Err(slow()))
}

/// One line of answer.
fn line(answer: Result<String, String>) -> String {
    match answer {
        Ok(json) => format!("{{\"ok\":{json}}}\n"),
        Err(text) => format!("{}\n", serde_json::json!({ "error": text })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Socket;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("sl-api-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const LIMITS: Limits = Limits {
        connections: 2,
        line_bytes: 200,
        patience: Duration::from_millis(300),
        answer: Duration::from_millis(300),
    };

    /// Serves in the background; `status` is answered by 42, everything else never.
    fn start(path: &Path) -> Socket {
        let (socket, listener) = Socket::bind(path).unwrap();
        let listener = UnixListener::from_std(listener).unwrap();
        let (calls, mut asked) = mpsc::channel::<Call>(4);
        tokio::spawn(serve(listener, LIMITS, calls));
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Some(call) = asked.recv().await {
                match call.request {
                    Request::Status => _ = call.answer.send(Ok("42".into())),
                    _ => kept.push(call.answer),
                }
            }
        });
        socket
    }

    async fn ask(path: &Path, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut out = String::new();
        BufReader::new(stream).read_line(&mut out).await.unwrap();
        out
    }

    #[tokio::test]
    async fn answers_errors_and_limits() {
        let dir = Dir::new("answers");
        let path = dir.0.join("s.sock");
        let _socket = start(&path);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(ask(&path, b"{\"verb\":\"status\"}\n").await, "{\"ok\":42}\n");
        assert!(
            ask(&path, b"{\"verb\":\"dance\"}\n")
                .await
                .contains("unknown verb `dance`")
        );
        assert!(ask(&path, b"\xff\xfe\n").await.starts_with("{\"error\":"));
        assert!(ask(&path, &[b'x'; 201]).await.contains("longer than 200 bytes"));
        assert!(
            ask(&path, b"{\"verb\":\"counters\"}\n")
                .await
                .contains("no answer within")
        );
        assert_eq!(ask(&path, b"{\"verb\":").await, "", "who falls silent is let go");
    }

    #[tokio::test]
    async fn one_client_too_many_is_told_so() {
        let dir = Dir::new("crowd");
        let path = dir.0.join("s.sock");
        let _socket = start(&path);
        let mut first = UnixStream::connect(&path).await.unwrap();
        let mut second = UnixStream::connect(&path).await.unwrap();
        for stream in [&mut first, &mut second] {
            stream.write_all(b"{\"verb\":\"status\"}\n").await.unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
        }
        assert!(ask(&path, b"").await.contains("2 clients are connected already"));
        drop(first);
        let mut served = String::new();
        for _ in 0..100 {
            served = ask(&path, b"{\"verb\":\"status\"}\n").await;
            if served.contains("42") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(served, "{\"ok\":42}\n");
    }

    #[tokio::test]
    async fn a_living_agent_keeps_its_socket_and_a_dead_one_loses_it() {
        let dir = Dir::new("two");
        let path = dir.0.join("s.sock");
        let (socket, listener) = Socket::bind(&path).unwrap();
        let error = Socket::bind(&path).unwrap_err();
        assert!(error.contains("another agent answers at"), "{error}");
        // Dead: nobody listens, the file is still there.
        drop(listener);
        let (next, _listener) = Socket::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists(), "the first one must not remove its successor's socket");
        drop(next);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert!(Socket::bind(&path).unwrap_err().contains("is no socket"));
        assert_eq!(
            std::fs::read_dir(&dir.0).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }
}
