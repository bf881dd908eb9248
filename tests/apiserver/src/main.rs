//! Decides nothing: `sluice-apiserver` starts the stand-in as its arguments say, prints its URL and runs until a signal.

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use sluice_apiserver::{Server, Settings, control};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A stand-in Kubernetes API server for tests.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT.
    Serve {
        /// Address and port; port 0 lets the kernel choose.
        #[arg(long, default_value = "127.0.0.1:6443")]
        listen: SocketAddr,
        /// Plain HTTP.
        #[arg(long)]
        plain: bool,
        /// More names and addresses for the certificate.
        #[arg(long = "name")]
        names: Vec<String>,
        /// YAML files and folders to begin with.
        #[arg(long = "load")]
        load: Vec<PathBuf>,
        /// Where to write a kubeconfig.
        #[arg(long)]
        kubeconfig: Option<PathBuf>,
        /// The only token to let in, also written into the kubeconfig; without one everybody is let in.
        #[arg(long)]
        token: Option<String>,
        /// Unix socket for orders.
        #[arg(long)]
        control: Option<PathBuf>,
        /// Refuse watches with initial events, as older servers do.
        #[arg(long)]
        no_watch_list: bool,
    },
    /// Send one order to the socket of a server and print the answer.
    Tell {
        /// Its socket.
        socket: PathBuf,
        /// The order, as JSON: {"do":"compact"}
        order: String,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Tell { socket, order } => tell(&socket, &order),
        Command::Serve {
            listen,
            plain,
            names,
            load,
            kubeconfig,
            token,
            control,
            no_watch_list,
        } => {
            let server = Arc::new(Server::start(Settings {
                listen,
                plain,
                names,
                ..Settings::default()
            })?);
            server.watch_list(!no_watch_list);
            if let Some(token) = &token {
                server.access().allow_token(token, "system:node");
            }
            for path in &load {
                server.load(path)?;
            }
            if let Some(path) = &kubeconfig {
                std::fs::write(path, server.kubeconfig(token.as_deref()))
                    .with_context(|| path.display().to_string())?;
            }
            if let Some(path) = &control {
                control::listen(&server, path)?;
            }
            println!("{}", server.url());
            wait()
        }
    }
}

fn wait() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            Ok(())
        })
}

fn tell(socket: &Path, order: &str) -> Result<()> {
    let mut stream = UnixStream::connect(socket).with_context(|| socket.display().to_string())?;
    stream.write_all(format!("{}\n", order.replace('\n', " ")).as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    ensure!(!answer.is_empty(), "no answer");
    print!("{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    ensure!(answer.get("error").is_none(), "the order was not carried out");
    Ok(())
}
