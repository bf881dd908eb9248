//! Decides which uses of ports exclude each other.

use super::Config;
use super::error::Fault;
use super::tree::Tree;
use super::values::Value;
use sluice_lb::PortRange;

/// Checks what was read so far.
///
/// # Errors
/// A port has two uses; the fault is at a key that the file has.
pub(super) fn check(tree: &Tree, config: &Config) -> Result<(), Fault> {
    ranges(tree, config)?;
    tunnel(tree, config)
}

/// What comes to a node port would pass for the answer to a masqueraded connection, and the other way round.
fn ranges(tree: &Tree, config: &Config) -> Result<(), Fault> {
    let snat = ("snat.ports", config.snat.ports);
    let nodeports = ("services.nodeports", config.services.nodeports);
    let (value, own, (key, other)) = match [snat, nodeports].map(|(key, _)| Value::find(tree, key)) {
        [Some(value), _] => (value, snat.1, nodeports),
        [None, Some(value)] => (value, nodeports.1, snat),
        [None, None] => return Ok(()),
    };
    let (first, last) = (own.first.max(other.first), own.last.min(other.last));
    if first > last {
        return Ok(());
    }
    Err(value.fault(format_args!(
        "is {own} and `{key}` {other}: both have {}, and a port has one use; take snat.ports out of the way of \
         services.nodeports, which are those of the API server (--service-node-port-range)",
        PortRange { first, last }
    )))
}

/// Answers to a masqueraded connection from that port would pass for tunnel packets.
fn tunnel(tree: &Tree, config: &Config) -> Result<(), Fault> {
    let port = config.vxlan.port;
    let ranges = [
        ("snat.ports", config.snat.ports),
        ("services.nodeports", config.services.nodeports),
    ];
    let Some((key, range)) = ranges
        .into_iter()
        .find(|(_, range)| (range.first..=range.last).contains(&port))
    else {
        return Ok(());
    };
    let want = format_args!(
        "`vxlan.port` {port} is one of `{key}` {range}, and a port has one use; take the range out of its way"
    );
    [key, "vxlan.port"]
        .into_iter()
        .find_map(|key| Value::find(tree, key))
        .map_or(Ok(()), |value| Err(value.fault(format_args!("does not fit: {want}"))))
}
