//! Decides which uses of ports exclude each other.

use super::Config;
use super::error::Fault;
use super::tree::Tree;
use super::values::Value;
use sluice_lb::PortRange;

/// What comes to a port of one use would pass for the other: to a node port for the answer to a masqueraded connection, such an answer for
/// a tunnel packet.
///
/// # Errors
/// A port has two uses; the fault is at a key that the file has.
pub(super) fn check(tree: &Tree, config: &Config) -> Result<(), Fault> {
    let tunnel = PortRange {
        first: config.vxlan.port,
        last: config.vxlan.port,
    };
    let snat = ("snat.ports", config.snat.ports);
    let nodeports = ("services.nodeports", config.services.nodeports);
    let vxlan = ("vxlan.port", tunnel);
    let api = "take snat.ports out of the way of services.nodeports, which are those of the API server (--service-node-port-range)";
    let range = "take the range out of its way";
    for (one, other, way_out) in [(snat, nodeports, api), (snat, vxlan, range), (nodeports, vxlan, range)] {
        let (first, last) = (one.1.first.max(other.1.first), one.1.last.min(other.1.last));
        let said = [(one, other), (other, one)]
            .into_iter()
            .find_map(|(own, other)| Some((Value::find(tree, own.0)?, own.1, other)));
        if first <= last
            && let Some((value, own, (key, other))) = said
        {
            return Err(value.fault(format_args!(
                "is {own} and `{key}` {other}: both have {}, and a port has one use; {way_out}",
                PortRange { first, last }
            )));
        }
    }
    Ok(())
}
