use crate::scratch::{Netns, ip};
use sluice_control::kernel::connect;
use sluice_control::kernel::host::{Host, HostPlan};
use sluice_control::kernel::ports::Reserved;
use sluice_control::kernel::{index_of, sysctl};
use sluice_wire::{Addr, MacAddr};
use std::path::PathBuf;

fn addr(text: &str) -> Addr {
    text.parse::<std::net::IpAddr>().unwrap().into()
}

fn plan(bases: &[&str], ranges: &[&str]) -> HostPlan {
    HostPlan {
        bases: bases.iter().map(|text| addr(text)).collect(),
        ranges: ranges.iter().map(|text| text.parse().unwrap()).collect(),
        gateway_mac: MacAddr([2, 0, 0, 0, 0, 7]),
        mtu: 1450,
    }
}

fn routes(family: &str) -> Vec<String> {
    let all = ip(&format!("{family} route show dev sluice0 proto 115"));
    all.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn the_host_interface_follows_its_plan_and_is_bare_in_the_end() {
    Netns::new().run_async(|| async {
        ip("tuntap add sluice0 mode tap");
        sysctl::write("ipv4/conf/all/rp_filter", "1").unwrap();
        let handle = connect().unwrap();
        let index = index_of(&handle, "sluice0").await.unwrap();
        assert!(
            index_of(&handle, "sluice9")
                .await
                .unwrap_err()
                .contains("no interface sluice9")
        );
        let mut host = Host::new(handle.clone(), "sluice0".into(), index);
        let first = plan(
            &["10.244.1.0", "fd00:244:1::"],
            &["10.244.1.0/24", "10.244.2.0/24", "10.96.0.0/12", "fd00:244:2::/64"],
        );
        host.apply(&first).await.unwrap();
        assert_eq!(host.applied(), Some(&first));
        let addresses = ip("addr show dev sluice0");
        assert!(
            addresses.contains("inet 10.244.1.0/32") && addresses.contains("inet6 fd00:244:1::/128"),
            "{addresses}"
        );
        assert!(
            addresses.contains("mtu 1450")
                && addresses.contains("UP")
                && !addresses.contains("fd00:244:1::/128 scope global tentative")
        );
        let via = |range: &str| format!("{range} via 169.254.1.1 src 10.244.1.0 onlink linkdown");
        let mut seen = routes("");
        seen.sort();
        assert_eq!(
            seen,
            [via("10.244.1.0/24"), via("10.244.2.0/24"), via("10.96.0.0/12")].map(|r| {
                if ip("-o link show sluice0").contains("NO-CARRIER") {
                    r
                } else {
                    r.replace(" linkdown", "")
                }
            })
        );
        assert!(
            routes("-6")[0].starts_with("fd00:244:2::/64 via fe80::1 src fd00:244:1::"),
            "{:?}",
            routes("-6")
        );
        assert!(ip("neigh show dev sluice0 nud permanent").contains("169.254.1.1 lladdr 02:00:00:00:00:07"));
        assert_eq!(
            sysctl::read("ipv4/conf/sluice0/rp_filter").unwrap().as_deref(),
            Some("2")
        );
        assert_eq!(
            sysctl::read("ipv6/conf/sluice0/accept_ra").unwrap().as_deref(),
            Some("0")
        );

        // The next agent finds what the last one left, and a changed cluster.
        ip("route add 172.16.0.0/12 dev sluice0");
        let mut host = Host::new(handle, "sluice0".into(), index);
        let second = plan(&["10.244.9.0"], &["10.244.2.0/24", "10.244.3.0/24", "fd00:244:2::/64"]);
        host.apply(&second).await.unwrap();
        host.apply(&second).await.unwrap();
        let addresses = ip("addr show dev sluice0");
        assert!(
            addresses.contains("10.244.9.0/32") && !addresses.contains("10.244.1.0") && !addresses.contains("fd00:"),
            "{addresses}"
        );
        let seen = routes("");
        assert!(
            seen.len() == 2 && seen.iter().all(|r| r.contains("src 10.244.9.0")),
            "{seen:?}"
        );
        assert!(routes("-6").is_empty(), "there is no IPv6 base to speak from");
        assert!(
            ip("route show 172.16.0.0/12").contains("sluice0"),
            "what is not ours stays"
        );

        host.cleanup().await.unwrap();
        assert!(routes("").is_empty());
        assert!(!ip("addr show dev sluice0").contains("10.244"));
        ip("link del sluice0");
        host.cleanup().await.unwrap();
    });
}

struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn ports_are_reserved_beside_others_and_given_back() {
    let dir = Dir(std::env::temp_dir().join(format!("sl-ports-{}", std::process::id())));
    std::fs::create_dir_all(&dir.0).unwrap();
    Netns::new().run(|| {
        let name = "ipv4/ip_local_reserved_ports";
        let now = || sysctl::read(name).unwrap().unwrap();
        sysctl::write(name, "8080,41000").unwrap();
        drop(Reserved::take(&dir.0, (40000, 65535)).unwrap());
        assert_eq!(now(), "8080,40000-65535");
        // That agent died. The next one has another range; somebody reserved a port meanwhile.
        sysctl::write(name, "8080,9000,40000-65535").unwrap();
        let reserved = Reserved::take(&dir.0, (50000, 50010)).unwrap();
        assert_eq!(now(), "8080,9000,41000,50000-50010");
        reserved.release().unwrap();
        assert_eq!(now(), "8080,9000,41000");
    });
    // Another namespace has nothing of it.
    Netns::new().run(|| {
        let reserved = Reserved::take(&dir.0, (1000, 1001)).unwrap();
        assert_eq!(
            sysctl::read("ipv4/ip_local_reserved_ports").unwrap().unwrap(),
            "1000-1001"
        );
        reserved.release().unwrap();
        assert_eq!(sysctl::read("ipv4/ip_local_reserved_ports").unwrap().unwrap(), "");
    });
}
