//! kube-proxy's nftables mode, as text for `nft -f`: its table, maps and chains of release 1.34 for services with cluster addresses and node
//! ports. It never writes what these services do not need (load balancers, affinity, source ranges).

use crate::compare::scene::{POD_RANGE, Service};
use std::fmt::{self, Write};
use std::net::Ipv4Addr;

/// What is the same whatever services there are, but for the node's own address.
const BASE: &str = "
add table ip kube-proxy { comment \"rules for kube-proxy\"; }
add set ip kube-proxy cluster-ips { type ipv4_addr; comment \"Active ClusterIPs\"; }
add set ip kube-proxy nodeport-ips { type ipv4_addr; comment \"IPs that accept NodePort traffic\"; }
add map ip kube-proxy no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }
add map ip kube-proxy no-endpoint-nodeports { type inet_proto . inet_service : verdict; }
add map ip kube-proxy firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
add map ip kube-proxy service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
add map ip kube-proxy service-nodeports { type inet_proto . inet_service : verdict; }
add chain ip kube-proxy filter-prerouting-pre-dnat { type filter hook prerouting priority -110; }
add chain ip kube-proxy filter-output-pre-dnat { type filter hook output priority -110; }
add chain ip kube-proxy filter-input { type filter hook input priority 0; }
add chain ip kube-proxy filter-forward { type filter hook forward priority 0; }
add chain ip kube-proxy filter-output { type filter hook output priority 0; }
add chain ip kube-proxy nat-prerouting { type nat hook prerouting priority -100; }
add chain ip kube-proxy nat-output { type nat hook output priority -100; }
add chain ip kube-proxy nat-postrouting { type nat hook postrouting priority 100; }
add chain ip kube-proxy firewall-check
add chain ip kube-proxy cluster-ips-check
add chain ip kube-proxy service-endpoints-check
add chain ip kube-proxy nodeport-endpoints-check
add chain ip kube-proxy services
add chain ip kube-proxy masquerading
add chain ip kube-proxy mark-for-masquerade
add chain ip kube-proxy reject-chain
add rule ip kube-proxy filter-prerouting-pre-dnat ct state new jump firewall-check
add rule ip kube-proxy filter-output-pre-dnat ct state new jump firewall-check
add rule ip kube-proxy filter-input ct state new jump nodeport-endpoints-check
add rule ip kube-proxy filter-input ct state new jump service-endpoints-check
add rule ip kube-proxy filter-forward ct state new jump service-endpoints-check
add rule ip kube-proxy filter-forward ct state new jump cluster-ips-check
add rule ip kube-proxy filter-output ct state new jump service-endpoints-check
add rule ip kube-proxy filter-output ct state new jump cluster-ips-check
add rule ip kube-proxy nat-prerouting jump services
add rule ip kube-proxy nat-output jump services
add rule ip kube-proxy nat-postrouting jump masquerading
add rule ip kube-proxy firewall-check ip daddr . meta l4proto . th dport vmap @firewall-ips
add rule ip kube-proxy cluster-ips-check ip daddr @cluster-ips reject
add rule ip kube-proxy service-endpoints-check ip daddr . meta l4proto . th dport vmap @no-endpoint-services
add rule ip kube-proxy nodeport-endpoints-check ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports
add rule ip kube-proxy services ip daddr . meta l4proto . th dport vmap @service-ips
add rule ip kube-proxy services ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
add rule ip kube-proxy masquerading mark and 0x4000 == 0 return
add rule ip kube-proxy masquerading mark set mark xor 0x4000
add rule ip kube-proxy masquerading masquerade fully-random
add rule ip kube-proxy mark-for-masquerade mark set mark or 0x4000
add rule ip kube-proxy reject-chain reject
";

/// All rules of the node that has this address.
pub(super) fn rules(services: &[Service], node: Ipv4Addr) -> String {
    let mut text = BASE.to_owned();
    let write = |text: &mut String| -> fmt::Result {
        writeln!(text, "add element ip kube-proxy nodeport-ips {{ {node} }}")?;
        for service in services {
            self::service(text, service)?;
        }
        Ok(())
    };
    // A string takes whatever is written into it.
    let _ = write(&mut text);
    text
}

fn service(text: &mut String, service: &Service) -> fmt::Result {
    let name = format!("{}-{}", service.name, service.port_name);
    let protocol = service.protocol;
    let (address, port, count) = (service.address, service.port, service.endpoints.len());
    let table = "ip kube-proxy";
    // An element that is there already is no error.
    writeln!(text, "add element {table} cluster-ips {{ {address} }}")?;
    let mut choices = Vec::new();
    for (e, endpoint) in service.endpoints.iter().enumerate() {
        let chain = format!("endpoint-{name}-{e}");
        writeln!(text, "add chain {table} {chain}")?;
        writeln!(
            text,
            "add rule {table} {chain} ip saddr {} jump mark-for-masquerade",
            endpoint.ip()
        )?;
        writeln!(
            text,
            "add rule {table} {chain} meta l4proto {protocol} dnat to {endpoint}"
        )?;
        choices.push(format!("{e} : goto {chain}"));
    }
    let chain = format!("service-{name}");
    writeln!(text, "add chain {table} {chain}")?;
    writeln!(
        text,
        "add rule {table} {chain} ip daddr {address} {protocol} dport {port} ip saddr != {POD_RANGE} jump mark-for-masquerade"
    )?;
    writeln!(
        text,
        "add rule {table} {chain} numgen random mod {count} vmap {{ {} }}",
        choices.join(" , ")
    )?;
    writeln!(
        text,
        "add element {table} service-ips {{ {address} . {protocol} . {port} : goto {chain} }}"
    )?;
    if let Some(port) = service.node_port {
        let external = format!("external-{name}");
        writeln!(text, "add chain {table} {external}")?;
        writeln!(text, "add rule {table} {external} jump mark-for-masquerade")?;
        writeln!(text, "add rule {table} {external} goto {chain}")?;
        writeln!(
            text,
            "add element {table} service-nodeports {{ {protocol} . {port} : goto {external} }}"
        )?;
    }
    Ok(())
}
