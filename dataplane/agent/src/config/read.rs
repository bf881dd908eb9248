//! Decides what each key's value may be.

use super::error::Fault;
use super::keys::{HINT, check};
use super::tree::{self, Tree, short};
use super::values::Value;
use super::{Config, Find, LogFormat, Polling, Priority, Queues, Source, WorkersConfig, apart};
use sluice_control::source::Cluster;
use sluice_lb::{PortRange, SchedulerKind};
use sluice_wire::Vni;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::path::Path;
use tracing::Level;

/// Largest file; a real one is a hundredth of it.
const MOST_BYTES: u64 = 256 << 10;
/// Longest path of the socket: a socket address has 107 bytes, and the agent binds it under a longer name first.
const SOCKET_BYTES: usize = 87;
/// Highest VXLAN network identifier, 24 bits.
const LAST_VNI: u32 = (1 << 24) - 1;
/// Highest number of a CPU that a worker can be pinned to (`CPU_SETSIZE` of sched_setaffinity).
const LAST_CPU: i128 = 1023;

/// Reads a file of a size that a configuration may have.
pub(super) fn file(path: &Path) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > MOST_BYTES => Err(Fault::whole_file(format!(
            "the file is longer than {} KiB; it is no configuration",
            MOST_BYTES >> 10
        ))),
        Ok(_) => Ok(bytes),
        Err(err) if err.kind() == ErrorKind::NotFound => Err(Fault::whole_file(
            "there is no such file. Make one with  sluice config example  and name it with --config",
        )),
        Err(err) => Err(Fault::whole_file(format!("cannot read the file: {err}"))),
    }
}

/// Reads a file's content, for the node of this name, if one is given.
pub(super) fn config_as(bytes: &[u8], named: Option<String>) -> Result<Config, Fault> {
    let text = str::from_utf8(bytes).map_err(|err| {
        let line = 1 + bytes[..err.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() as u64;
        Fault::at(
            line,
            "the file is no text in UTF-8; write it anew with an editor that can",
        )
    })?;
    let tree = tree::parse(text)?;
    check(&tree)?;
    let find = |key| Value::find(&tree, key);

    let (name, how) = interface(&tree)?;
    let mut config = Config::with_defaults(name);
    config.uplink.find = how;
    set(&mut config.node, find("node"), node)?;
    if let Some(named) = named {
        config.node = named;
    }
    if config.node.is_empty() {
        return Err(Fault::whole_file(
            "`node` is missing, and the host has no name; give the name of this node's Node object",
        ));
    }
    if !is_node_name(&config.node) {
        return Err(Fault::whole_file(format!(
            "`node` is missing, and NODE_NAME or the host's name, `{}`, is none of a Node object; give one",
            short(&config.node)
        )));
    }
    set(&mut config.source, find("source"), |v| {
        v.choice(&[("manifests", Source::Manifests), ("kubernetes", Source::Kubernetes)])
    })?;
    set(&mut config.manifests, find("manifests"), |v| v.path())?;
    kubernetes(&tree, &mut config)?;
    set(&mut config.socket, find("socket"), |v| {
        let path = v.path()?;
        let fits = path.as_os_str().len() <= SOCKET_BYTES;
        fits.then_some(path)
            .ok_or_else(|| v.wrong(format_args!("a path of at most {SOCKET_BYTES} bytes")))
    })?;
    set(&mut config.bpffs, find("bpffs"), |v| v.path())?;
    set(&mut config.uplink.queues, find("uplink.queues"), queues)?;
    set(&mut config.vxlan.vni, find("vxlan.vni"), |v| {
        Vni::new(v.number(1..=LAST_VNI)?).ok_or_else(|| v.wrong("24 bits"))
    })?;
    set(&mut config.vxlan.port, find("vxlan.port"), |v| v.number(1..=u16::MAX))?;
    set(&mut config.vxlan.mtu, find("vxlan.mtu"), |v| {
        v.number(1280..=u16::MAX).map(Some)
    })?;
    workers(&tree, &mut config.workers)?;
    set(&mut config.services.scheduler, find("services.scheduler"), |v| {
        v.choice(&SchedulerKind::ALL.map(|kind| (kind.name(), kind)))
    })?;
    set(&mut config.services.cidrs, find("services.cidrs"), |v| {
        v.list("address blocks such as 10.96.0.0/12 or \"fd00:96::/112\"", |item| {
            text_of(item)?.parse().ok()
        })
    })?;
    set(&mut config.services.nodeports, find("services.nodeports"), |v| {
        ports(v, "30000-32767")
    })?;
    set(&mut config.snat.ports, find("snat.ports"), |v| ports(v, "40000-65535"))?;
    apart::check(&tree, &config)?;
    set(&mut config.memory.frames, find("memory.frames"), |v| {
        v.number(1024..=524_288)
    })?;
    set(&mut config.memory.connections, find("memory.connections"), |v| {
        v.number(1024..=16_777_216)
    })?;
    set(&mut config.memory.flows, find("memory.flows"), |v| {
        v.number(1024..=4_194_304)
    })?;
    set(
        &mut config.limits.connections_percent,
        find("limits.connections_percent"),
        |v| v.number(1..=100),
    )?;
    set(&mut config.limits.new_flows, find("limits.new_flows"), |v| {
        v.number(1..=10_000_000)
    })?;
    set(
        &mut config.limits.new_flows_burst,
        find("limits.new_flows_burst"),
        |v| v.number(1..=10_000_000),
    )?;
    set(&mut config.health.address, find("health.address"), listen)?;
    set(&mut config.health.healthz, find("health.healthz"), listen)?;
    set(&mut config.log.level, find("log.level"), |v| {
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        v.choice(
            &["error", "warn", "info", "debug", "trace"]
                .into_iter()
                .zip(levels)
                .collect::<Vec<_>>(),
        )
    })?;
    set(&mut config.log.format, find("log.format"), |v| {
        v.choice(&[("human", LogFormat::Human), ("json", LogFormat::Json)])
    })?;
    Ok(config)
}

/// Where to listen, or nowhere.
fn listen(value: &Value<'_>) -> Result<Option<SocketAddr>, Fault> {
    let want = "an address with a port, such as 127.0.0.1:9475 or \"[::]:10256\", or none";
    let text = value.text(want)?;
    let address = (text != "none").then(|| text.parse()).transpose();
    let usable = |address: &Option<SocketAddr>| address.is_none_or(|address| address.port() != 0);
    address.ok().filter(usable).ok_or_else(|| value.wrong(want))
}

fn kubernetes(tree: &Tree, config: &mut Config) -> Result<(), Fault> {
    let (kubeconfig, servers) = ("kubernetes.kubeconfig", "kubernetes.servers");
    let unused = [kubeconfig, servers].into_iter().find_map(|key| Value::find(tree, key));
    if let Some(value) = unused.filter(|_| config.source != Source::Kubernetes) {
        return Err(value.fault("is set, but objects come from manifests; want `source: kubernetes`, too"));
    }
    set(&mut config.kubernetes.kubeconfig, Value::find(tree, kubeconfig), |v| {
        v.path().map(Some)
    })?;
    set(&mut config.kubernetes.servers, Value::find(tree, servers), |v| {
        v.list("addresses such as https://10.0.0.10:6443", server)
    })
}

fn server(item: &Tree) -> Option<String> {
    text_of(item).filter(|text| Cluster::is_server(text)).map(str::to_owned)
}

/// Sets a field when its key is there.
fn set<T>(
    field: &mut T,
    value: Option<Value<'_>>,
    read: impl FnOnce(&Value<'_>) -> Result<T, Fault>,
) -> Result<(), Fault> {
    if let Some(value) = value {
        *field = read(&value)?;
    }
    Ok(())
}

fn text_of(tree: &Tree) -> Option<&str> {
    if let Tree::Text(text) = tree { Some(text) } else { None }
}

/// A name, or what it is found by: `auto`, a pattern, several in a list or with commas between them.
fn interface(tree: &Tree) -> Result<(String, Option<Find>), Fault> {
    const WANT: &str = "the name of an interface, such as eth1, or `auto`, or patterns, such as [bond*, eth*]";
    let Some(value) = Value::find(tree, "uplink.interface") else {
        let text =
            "`uplink.interface` is missing; it names the interface to the other nodes, such as eth1, or is `auto`";
        return Err(Fault::whole_file(format!("{text}  {HINT}")));
    };
    let names: Vec<String> = if value.is_list() {
        value.list(WANT, |item| {
            text_of(item).filter(|name| is_interface(name)).map(str::to_owned)
        })?
    } else {
        let text = value.text(WANT)?;
        text.split(',').map(|name| name.trim().to_owned()).collect()
    };
    if names.is_empty() || !names.iter().all(|name| is_interface(name)) {
        return Err(value.wrong(WANT));
    }
    let said = names.join(", ");
    let find = match names.as_slice() {
        [name] if name == "auto" => Some(Find::Address),
        [name] if !name.contains(['*', '?']) => None,
        _ => Some(Find::Like(names)),
    };
    Ok((said, find))
}

/// What the kernel takes as an interface's name (`dev_valid_name` in net/core/dev.c).
fn is_interface(name: &str) -> bool {
    (1..16).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}

const NODE_NAME: &str = "the name of a Node object: lower-case letters, digits, `-` and `.`";

/// A DNS subdomain name, as Kubernetes names nodes (RFC 1123 section 2.1, in lower case).
fn node(value: &Value<'_>) -> Result<String, Fault> {
    let name = value.text(NODE_NAME)?;
    if is_node_name(name) {
        Ok(name.into())
    } else {
        Err(value.wrong(NODE_NAME))
    }
}

/// The same from the command line.
pub(crate) fn node_name(text: &str) -> Result<String, String> {
    match is_node_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("want {NODE_NAME}")),
    }
}

fn is_node_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn ports(value: &Value<'_>, such_as: &str) -> Result<PortRange, Fault> {
    let want = format!("two ports from 1 to 65535, the lower one first, such as {such_as}");
    value.text(&want)?.parse().map_err(|_| value.wrong(&want))
}

fn queues(value: &Value<'_>) -> Result<Queues, Fault> {
    value
        .choice(&[("all", Queues::All)])
        .or_else(|_| value.number(1..=1024).map(Queues::Number))
        .map_err(|_| value.wrong("`all` or a number from 1 to 1024"))
}

fn workers(tree: &Tree, workers: &mut WorkersConfig) -> Result<(), Fault> {
    let count = Value::find(tree, "workers.count");
    let cpus = Value::find(tree, "workers.cpus");
    set(&mut workers.count, count, |v| v.number(1..=64))?;
    set(&mut workers.polling, Value::find(tree, "workers.polling"), |v| {
        v.choice(&[Polling::Adaptive, Polling::Busy].map(|polling| (polling.name(), polling)))
    })?;
    set(&mut workers.priority, Value::find(tree, "workers.priority"), |v| {
        v.choice(&[("realtime", Priority::Realtime), ("normal", Priority::Normal)])
    })?;
    let Some(value) = cpus else { return Ok(()) };
    let cpu = |item: &Tree| match item {
        Tree::Int(cpu @ 0..=LAST_CPU) => usize::try_from(*cpu).ok(),
        _ => None,
    };
    let list = value.list("CPU numbers from 0 to 1023", cpu)?;
    if list.len() != workers.count {
        let (cpus, count) = (list.len(), workers.count);
        return Err(value.fault(format_args!(
            "lists {cpus} CPUs for {count} workers (workers.count); want one for each"
        )));
    }
    if let Some(twice) = list.iter().enumerate().find(|(i, cpu)| list[..*i].contains(cpu)) {
        return Err(value.fault(format_args!("lists CPU {} twice; want one for each worker", twice.1)));
    }
    workers.pinned = Some(list);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_on_the_command_line_is_stronger_than_the_files() {
        let named = |text: &str, name: Option<&str>| {
            let name = name.map(|name| node_name(name).unwrap());
            config_as(text.as_bytes(), name).unwrap().node
        };
        let text = "uplink: {interface: eth1}\nnode: in-the-file\n";
        assert_eq!(named(text, None), "in-the-file");
        assert_eq!(named(text, Some("as.said")), "as.said");
        assert_eq!(named("uplink: {interface: eth1}", Some("as-said")), "as-said");
        for wrong in ["", "Node", "a_b", "-a", "a..b", &"a".repeat(254)] {
            assert!(
                node_name(wrong).unwrap_err().contains("name of a Node object"),
                "{wrong}"
            );
        }
    }
}
