//! Decides how a server is driven from outside of its process: one JSON object a line on a unix socket, one line back. It
//! never does more than the handle can.

use crate::auth::Denial;
use crate::faults::Rule;
use crate::server::Server;
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// What can be asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do", deny_unknown_fields)]
pub enum Order {
    /// Apply a YAML text of any number of documents.
    Apply {
        /// The text.
        yaml: String,
    },
    /// Apply a file or folder.
    Load {
        /// Where it is.
        path: PathBuf,
    },
    /// Delete an object at once.
    Delete {
        /// Plural name.
        resource: String,
        /// Its namespace.
        #[serde(default)]
        namespace: Option<String>,
        /// Its name.
        name: String,
    },
    /// All objects of a resource.
    Objects {
        /// Plural name.
        resource: String,
    },
    /// The newest version.
    Version,
    /// Forget all versions before the newest.
    Compact,
    /// Send bookmarks now.
    Bookmark,
    /// Keep the cache at a version, or let it catch up.
    Lag {
        /// The version.
        #[serde(default)]
        version: Option<u64>,
    },
    /// Go back to a version.
    Restore {
        /// The version.
        version: u64,
    },
    /// Offer initial events or refuse them.
    WatchList {
        /// Offer.
        on: bool,
    },
    /// Serve a resource or not.
    Serve {
        /// Plural name.
        resource: String,
        /// Serve.
        on: bool,
    },
    /// Let a token in.
    AllowToken {
        /// The token.
        token: String,
        /// The user behind it.
        user: String,
    },
    /// Let a token in no longer.
    ExpireToken {
        /// The token.
        token: String,
    },
    /// Forbid.
    Deny {
        /// What.
        what: Denial,
    },
    /// Take back what was forbidden.
    Grant {
        /// What.
        what: Denial,
    },
    /// Put a fault in force; the answer is its number.
    Fault {
        /// What, where, how often.
        rule: Rule,
    },
    /// How often a fault struck.
    Struck {
        /// Its number.
        id: u64,
    },
    /// End one fault, or all.
    Clear {
        /// Its number.
        #[serde(default)]
        id: Option<u64>,
    },
    /// Let connections be open and silent.
    HalfOpen {
        /// Begin or end.
        on: bool,
    },
    /// Close the port or open it again.
    Refuse {
        /// Begin or end.
        on: bool,
    },
    /// Close all connections.
    Close,
    /// All counters.
    Counters,
    /// Count from zero.
    Reset,
}

/// Carries an order out.
pub fn obey(server: &Server, order: Order) -> Result<Value> {
    match order {
        Order::Apply { yaml } => return Ok(server.apply_yaml(&yaml)?.into()),
        Order::Load { path } => return Ok(server.load(&path)?.into()),
        Order::Delete {
            resource,
            namespace,
            name,
        } => {
            return Ok(server.delete(&resource, namespace.as_deref(), &name).into());
        }
        Order::Objects { resource } => return Ok(json!(server.objects(&resource))),
        Order::Version => return Ok(server.version().into()),
        Order::Compact => server.compact(),
        Order::Bookmark => server.bookmark(),
        Order::Lag { version } => server.lag(version),
        Order::Restore { version } => server.restore(version),
        Order::WatchList { on } => server.watch_list(on),
        Order::Serve { resource, on } => server.serve(&resource, on),
        Order::AllowToken { token, user } => server.access().allow_token(&token, &user),
        Order::ExpireToken { token } => server.access().expire_token(&token),
        Order::Deny { what } => server.deny(what),
        Order::Grant { what } => server.access().grant(&what),
        Order::Fault { rule } => return Ok(server.fault(rule).into()),
        Order::Struck { id } => return Ok(server.faults().struck(id).into()),
        Order::Clear { id: Some(id) } => server.faults().clear_one(id),
        Order::Clear { id: None } => server.faults().clear(),
        Order::HalfOpen { on } => server.lines().half_open(on),
        Order::Refuse { on } => server.lines().refuse(on),
        Order::Close => server.lines().close_all(),
        Order::Counters => return Ok(server.counters().json()),
        Order::Reset => server.counters().reset(),
    }
    Ok(Value::Null)
}

/// Listens for orders until the server ends. A socket that is there already is replaced.
pub fn listen(server: &Arc<Server>, socket: &Path) -> Result<()> {
    let runtime = server.runtime().context("the server has ended")?;
    let _ = std::fs::remove_file(socket);
    let _guard = runtime.enter();
    let listener = UnixListener::bind(socket).with_context(|| socket.display().to_string())?;
    // A weak handle, as the server owns the threads that this runs on.
    let server = Arc::downgrade(server);
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move {
                let _ = lines(stream, |order| {
                    let server = server.upgrade().context("the server has ended")?;
                    obey(&server, order)
                })
                .await;
            });
        }
    });
    Ok(())
}

async fn lines(stream: UnixStream, obey: impl Fn(Order) -> Result<Value>) -> Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader).lines();
    while let Some(line) = reader.next_line().await? {
        let done = serde_json::from_str::<Order>(&line).context("order").and_then(&obey);
        let answer = match done {
            Ok(value) => json!({"ok": value}),
            Err(error) => json!({"error": format!("{error:#}")}),
        };
        writer.write_all(format!("{answer}\n").as_bytes()).await?;
    }
    Ok(())
}
