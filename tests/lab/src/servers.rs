//! What runs in pods: nginx, iperf3 and the lab's own UDP echo. It never decides which pod runs what.

use crate::ns;
use crate::place::binary;
use crate::topology::{Server, ServerKind};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Starts `server` in the namespace `namespace` for the pod `name`; logs and configuration go to `dir`.
pub(crate) fn start(server: Server, name: &str, namespace: &str, dir: &Path) -> Result<std::process::Child> {
    let kind = server.kind.name();
    let port = server.port.to_string();
    let mut command = match server.kind {
        ServerKind::Http => {
            let config = dir.join(format!("{name}-nginx-{port}.conf"));
            let text = nginx_config(name, server.port, dir);
            fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
            let mut command = Command::new("nginx");
            command
                .arg("-e")
                .arg(dir.join(format!("{name}-nginx.log")))
                .arg("-c")
                .arg(config);
            command
        }
        ServerKind::UdpEcho => {
            let mut command = Command::new(binary("sluice-lab")?);
            command.args(["serve", "udp-echo", "--port", &port, "--name", name]);
            command
        }
        ServerKind::Iperf3 => {
            let mut command = Command::new("iperf3");
            command.args(["-s", "-p", &port]);
            command
        }
    };
    let log = File::create(dir.join(format!("{name}-{kind}.log")))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    ns::spawn(namespace, &mut command)
}

/// Returns once `server` listens. The kernel's tables tell it, so that no server sees a client that says nothing.
pub(crate) fn wait_for(server: Server, name: &str, namespace: &str, deadline: Duration) -> Result<()> {
    let end = Instant::now() + deadline;
    let kind = server.kind.name();
    ns::within(namespace, || {
        while !listening(server) {
            if Instant::now() > end {
                bail!(
                    "{kind} in {name} does not listen on port {} after {deadline:?}; see its log",
                    server.port
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    })
}

/// Is there a listening socket in the calling thread's namespace? (`/proc/net/tcp`: local address, state 0A.)
fn listening(server: Server) -> bool {
    let (protocol, state) = if server.kind == ServerKind::UdpEcho {
        ("udp", "07")
    } else {
        ("tcp", "0A")
    };
    let port = format!(":{:04X}", server.port);
    [protocol.to_string(), format!("{protocol}6")].iter().any(|table| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        text.lines().any(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some(state)
        })
    })
}

/// One worker, everything it writes inside the lab's folder. Connections stay open, as between real services.
fn nginx_config(name: &str, port: u16, dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "daemon off;
user root;
worker_processes 1;
pid {dir}/{name}-nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  default_type text/plain;
  keepalive_requests 1000000;
  sendfile on;
  server {{
    listen {port};
    listen [::]:{port};
    root {dir};
    location / {{ return 200 \"{name}\\n\"; }}
    location = /from {{ return 200 \"$remote_addr\\n\"; }}
    location = /big {{ }}
  }}
}}
"
    )
}
