//! kube-proxy's iptables mode, as text for `iptables-restore --noflush`: the chains and rules of release 1.34 in their order, for services
//! with cluster addresses and node ports. It never writes what these services do not need (load balancers, affinity, source ranges).

use crate::compare::scene::{POD_RANGE, Service};
use std::fmt::{self, Write};

/// What is the same whatever services there are.
const FILTER: &str = "*filter
:KUBE-NODEPORTS - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
-A INPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment \"kubernetes health check service ports\" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
";
const NAT: &str = "*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
";
const HOOKS: &str = "-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
";
const LAST: &str = "-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
COMMIT
";

/// All rules of a node.
pub(super) fn rules(services: &[Service]) -> String {
    let mut text = format!("{FILTER}{NAT}");
    let write = |text: &mut String| -> fmt::Result {
        for (n, service) in services.iter().enumerate() {
            writeln!(text, ":KUBE-SVC-{n:016X} - [0:0]")?;
            for e in 0..service.endpoints.len() {
                writeln!(text, ":KUBE-SEP-{n:08X}{e:08X} - [0:0]")?;
            }
            if service.node_port.is_some() {
                writeln!(text, ":KUBE-EXT-{n:016X} - [0:0]")?;
            }
        }
        text.push_str(HOOKS);
        for (n, service) in services.iter().enumerate() {
            self::service(text, n, service)?;
        }
        text.push_str(LAST);
        Ok(())
    };
    // A string takes whatever is written into it.
    let _ = write(&mut text);
    text
}

fn service(text: &mut String, n: usize, service: &Service) -> fmt::Result {
    let name = format!("default/{}:{}", service.name, service.port_name);
    let protocol = format!("-m {0} -p {0}", service.protocol);
    let to = format!("{protocol} -d {} --dport {}", service.address, service.port);
    let chain = format!("KUBE-SVC-{n:016X}");
    let portal = format!("-m comment --comment \"{name} cluster IP\" {to}");
    writeln!(text, "-A KUBE-SERVICES {portal} -j {chain}")?;
    if let Some(port) = service.node_port {
        let external = format!("KUBE-EXT-{n:016X}");
        writeln!(
            text,
            "-A KUBE-NODEPORTS -m comment --comment {name} {protocol} --dport {port} -j {external}"
        )?;
        writeln!(
            text,
            "-A {external} -m comment --comment \"masquerade traffic for {name} external destinations\" -j KUBE-MARK-MASQ"
        )?;
        writeln!(text, "-A {external} -j {chain}")?;
    }
    writeln!(text, "-A {chain} {portal} ! -s {POD_RANGE} -j KUBE-MARK-MASQ")?;
    let count = service.endpoints.len();
    for (e, endpoint) in service.endpoints.iter().enumerate() {
        // Of those that are left each is as likely; the last one takes the rest.
        let left = count - e;
        let chance = if left > 1 {
            format!(" -m statistic --mode random --probability {:.10}", 1.0 / left as f64)
        } else {
            String::new()
        };
        let own = format!("KUBE-SEP-{n:08X}{e:08X}");
        writeln!(
            text,
            "-A {chain} -m comment --comment \"{name} -> {endpoint}\"{chance} -j {own}"
        )?;
        writeln!(
            text,
            "-A {own} -m comment --comment {name} -s {} -j KUBE-MARK-MASQ",
            endpoint.ip()
        )?;
        writeln!(
            text,
            "-A {own} -m comment --comment {name} {protocol} -j DNAT --to-destination {endpoint}"
        )?;
    }
    Ok(())
}
