//! The agent's socket, with a client that says what it likes in pieces of any size.

use sluice_control::api::{Call, Limits, Socket, serve};
use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

const LIMITS: Limits = Limits {
    connections: 4,
    line_bytes: 256,
    patience: Duration::from_secs(5),
    answer: Duration::from_secs(5),
};

struct Server {
    runtime: Runtime,
    path: PathBuf,
    socket: Option<Socket>,
}

impl Server {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let name = format!(
            "sluice-fuzz-{}-{:?}.sock",
            std::process::id(),
            std::thread::current().id()
        );
        let path = std::env::temp_dir().join(name.replace(['(', ')'], ""));
        let (socket, listener) = Socket::bind(&path).expect("a socket in the directory for temporary files");
        runtime.block_on(async {
            let listener = UnixListener::from_std(listener).expect("a listener");
            let (calls, mut asked) = mpsc::channel::<Call>(4);
            tokio::spawn(serve(listener, LIMITS, calls));
            tokio::spawn(async move {
                while let Some(call) = asked.recv().await {
                    let _ = call.answer.send(Ok("42".into()));
                }
            });
        });
        Self {
            runtime,
            path,
            socket: Some(socket),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.socket = None;
    }
}

thread_local! {
    static SERVER: OnceCell<Server> = const { OnceCell::new() };
}

/// Each line is answered by one line of JSON, in order, and the next client is served whatever this one did. The first
/// byte says how long the pieces are.
pub(crate) fn socket(data: &[u8]) {
    let Some((piece, data)) = data.split_first() else {
        return;
    };
    SERVER.with(|server| {
        let server = server.get_or_init(Server::start);
        server.runtime.block_on(async {
            let answers = converse(&server.path, data, usize::from(*piece).max(1)).await;
            let lines = data.iter().filter(|byte| **byte == b'\n').count();
            let answered = answers.lines().count();
            assert!(answered <= lines + 1, "more answers than questions: {answers}");
            for answer in answers.lines() {
                let answer: serde_json::Value = serde_json::from_str(answer).expect("an answer is JSON");
                let fields = answer.as_object().expect("an answer is an object");
                assert!(fields.len() == 1 && (fields.contains_key("ok") || fields.contains_key("error")));
            }
            let alive = converse(&server.path, b"{\"verb\":\"status\"}\n", 64).await;
            assert_eq!(alive, "{\"ok\":42}\n", "after {:?}", String::from_utf8_lossy(data));
        });
    });
}

async fn converse(path: &std::path::Path, data: &[u8], piece: usize) -> String {
    let stream = UnixStream::connect(path).await.expect("the server listens");
    let (mut read, mut write) = stream.into_split();
    let say = async move {
        for piece in data.chunks(piece) {
            // The server may have had enough.
            if write.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        let _ = write.shutdown().await;
    };
    let hear = async {
        let mut said = Vec::new();
        // A reset ends it as well: the server leaves what is unread behind.
        let _ = read.read_to_end(&mut said).await;
        String::from_utf8(said).expect("an answer is text")
    };
    tokio::join!(say, hear).1
}
