use crate::scratch::Netns;
use sluice_control::kernel::netns;
use sluice_control::kernel::pod::{Found, PodPlan, configure, deconfigure, find};
use sluice_control::kernel::sysctl;
use sluice_wire::Addr;

fn plan(addrs: &[&str]) -> PodPlan {
    let addrs = addrs
        .iter()
        .map(|text| Addr::from(text.parse::<std::net::IpAddr>().unwrap()))
        .collect();
    PodPlan {
        interface: "eth0".into(),
        addrs,
        mtu: 1450,
    }
}

fn pod() -> Netns {
    let netns = Netns::new();
    netns.ip("link set lo down");
    netns.ip("tuntap add eth0 mode tap");
    netns
}

#[test]
fn a_pod_gets_addresses_and_default_routes_and_loses_them() {
    let pod = pod();
    let both = plan(&["10.244.1.5", "fd00:244:1::5"]);
    assert!(matches!(find(&pod.path(), "eth0"), Ok(Found::Tap(Some(_)))));
    for _ in 0..2 {
        assert_eq!(configure(&pod.path(), &both), Ok(Vec::new()));
        let shown = pod.ip("addr show dev eth0");
        assert!(
            shown.contains("inet 10.244.1.5/32") && shown.contains("inet6 fd00:244:1::5/128"),
            "{shown}"
        );
        assert!(
            shown.contains("mtu 1450") && !shown.contains("::5/128 scope global tentative"),
            "{shown}"
        );
        assert!(pod.ip("link show lo").contains("LOOPBACK,UP"));
        let routes = pod.ip("route show");
        assert!(routes.contains("default via 169.254.1.1 dev eth0"), "{routes}");
        assert!(routes.contains("169.254.1.1 dev eth0"), "{routes}");
        assert!(pod.ip("-6 route show default").contains("default via fe80::1 dev eth0"));
    }
    // Another plan takes over.
    configure(&pod.path(), &plan(&["10.244.1.6"])).unwrap();
    assert!(!pod.ip("addr show dev eth0").contains("10.244.1.5") && pod.ip("-6 route show default").is_empty());
    configure(&pod.path(), &both).unwrap();
    deconfigure(&pod.path(), &both).unwrap();
    assert!(!pod.ip("addr show dev eth0").contains("10.244.1.") && pod.ip("route show").is_empty());
    deconfigure(&pod.path(), &both).unwrap();
}

#[test]
fn without_ipv6_a_pod_gets_ipv4_and_a_warning() {
    let pod = pod();
    pod.run(|| {
        sysctl::write("ipv6/conf/eth0/disable_ipv6", "1").unwrap();
    });
    let warnings = configure(&pod.path(), &plan(&["10.244.1.5", "fd00:244:1::5"])).unwrap();
    assert!(
        warnings.len() == 1 && warnings[0].contains("IPv6 is switched off"),
        "{warnings:?}"
    );
    assert!(pod.ip("route show").contains("default via 169.254.1.1"));
}

#[test]
fn what_is_missing_is_named() {
    let pod = pod();
    pod.ip("link add other type veth peer name peer");
    assert_eq!(find(&pod.path(), "other"), Ok(Found::Other));
    assert_eq!(find(&pod.path(), "eth7"), Ok(Found::Nothing));
    let error = configure(
        &pod.path(),
        &PodPlan {
            interface: "eth7".into(),
            ..plan(&["10.244.1.5"])
        },
    )
    .unwrap_err();
    assert!(error.contains("no interface eth7"), "{error}");
    let gone = pod.path();
    drop(pod);
    assert!(configure(&gone, &plan(&["10.244.1.5"])).is_err());
    deconfigure(&gone, &plan(&["10.244.1.5"])).unwrap();
    let other = netns::within("/proc/self/ns/mnt".as_ref(), || Ok(())).unwrap_err();
    assert!(other.contains("no network namespace"), "{other}");
}
