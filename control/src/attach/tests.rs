use super::*;
use crate::api::AttachRequest;
use crate::kernel::netns::NetnsId;
use proptest::prelude::*;
use sluice_snapshot::Prefix;
use sluice_wire::Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("sl-attach-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn own() -> Vec<Prefix> {
    vec!["10.244.1.0/24".parse().unwrap(), "fd00:244:1::/64".parse().unwrap()]
}

fn request() -> AttachRequest {
    AttachRequest {
        netns: "/proc/self/ns/mnt".into(),
        interface: "eth0".into(),
        addresses: vec!["10.244.1.5/24".into(), "fd00:244:1::5".into()],
        pod: "default/web-1".into(),
    }
}

fn refused(change: impl FnOnce(&mut AttachRequest)) -> String {
    let mut request = request();
    change(&mut request);
    check(&request, &own()).unwrap_err()
}

fn set(addresses: &[&str]) -> impl FnOnce(&mut AttachRequest) {
    let addresses = addresses.iter().map(|text| (*text).to_owned()).collect();
    move |r| r.addresses = addresses
}

#[test]
fn a_good_request_passes_and_addresses_are_sorted() {
    // A namespace of another kind has the same magic; entering it fails later, with a message.
    let wanted = check(&request(), &own()).unwrap();
    assert_eq!(
        wanted.addrs,
        [
            Addr::v4([10, 244, 1, 5]),
            "fd00:244:1::5".parse::<std::net::IpAddr>().unwrap().into()
        ]
    );
    let mut other = request();
    other.addresses.reverse();
    assert_eq!(check(&other, &own()).unwrap(), wanted);
}

#[test]
fn each_mistake_is_named() {
    assert!(refused(|r| r.netns = "/proc/self/ns/net".into()).contains("the node's own network namespace"));
    assert!(refused(|r| r.netns = "/etc/passwd".into()).contains("is no network namespace"));
    assert!(refused(|r| r.netns = "/dev/zero".into()).contains("is no network namespace"));
    assert!(refused(|r| r.netns = "/run/netns/never-was".into()).contains("does not exist"));
    assert!(refused(|r| r.netns = "run/netns/a".into()).contains("absolute path"));
    assert!(refused(|r| r.netns = "/a\0b".into()).contains("network namespace"));
    for name in [
        "",
        "a b",
        "a/b",
        "0123456789abcdef",
        "..",
        "lo",
        "eth%d",
        "e\u{301}",
        "a:1",
    ] {
        let text = refused(|r| r.interface = name.into());
        assert!(text.contains("interface name"), "{name}: {text}");
    }
    for pod in [
        "web",
        "/web",
        "default/",
        "Default/web",
        "default/web/1",
        "default/-web",
        "a.b/web",
        "default/we..b",
        "d\n/w",
    ] {
        let text = refused(|r| r.pod = pod.into());
        assert!(text.contains("namespace/name"), "{pod}: {text}");
        assert!(!text.contains('\n'));
    }
    assert!(refused(set(&[])).contains("not 0"));
    assert!(refused(set(&["10.244.1.5", "10.244.1.6"])).contains("same family"));
    assert!(refused(set(&["10.244.1.5/33"])).contains("is no address"));
    assert!(refused(set(&["fd00:244:1::5/129"])).contains("is no address"));
    assert!(refused(set(&["10.244.1.5/24/24"])).contains("is no address"));
    assert!(refused(set(&["::ffff:10.244.1.5"])).contains("write it as 10.244.1.5"));
    assert!(refused(set(&["10.244.2.5"])).contains("outside this node's pod range 10.244.1.0/24"));
    assert!(refused(set(&["127.0.0.1"])).contains("outside"));
    assert!(refused(set(&["10.244.1.0"])).contains("base address"));
    assert!(check(&request(), &[]).unwrap_err().contains("no pod range yet"));
}

fn wanted(ino: u64, interface: &str, addr: u8, pod: &str) -> Wanted {
    Wanted {
        netns: format!("/run/netns/n{ino}").into(),
        id: NetnsId { dev: 4, ino },
        interface: interface.into(),
        addrs: vec![Addr::v4([10, 244, 1, addr])],
        pod: pod.into(),
    }
}

#[test]
fn a_holder_is_named_and_repeating_is_harmless() {
    let mut list = Attachments::default();
    assert_eq!(list.decide(&wanted(1, "eth0", 5, "a/one")), Decision::New);
    list.add(wanted(1, "eth0", 5, "a/one").into(), ());
    assert_eq!(list.decide(&wanted(1, "eth0", 5, "a/one")), Decision::Same(0));
    let by_other_path = Wanted {
        netns: "/proc/7/ns/net".into(),
        ..wanted(1, "eth0", 5, "a/one")
    };
    assert_eq!(list.decide(&by_other_path), Decision::Same(0));

    let refused = |wanted: &Wanted| match list.decide(wanted) {
        Decision::Refused(text) => text,
        other => panic!("{other:?}"),
    };
    let text = refused(&wanted(1, "eth0", 6, "a/two"));
    assert!(
        text.contains("attached already, for a/one (eth0 in /run/netns/n1) with 10.244.1.5"),
        "{text}"
    );
    let text = refused(&wanted(1, "eth1", 6, "a/two"));
    assert!(
        text.contains("has an interface already, that of a/one (eth0 in /run/netns/n1)"),
        "its default route would be taken: {text}"
    );
    let text = refused(&wanted(2, "eth0", 5, "a/two"));
    assert!(
        text.contains("10.244.1.5 belongs to a/one (eth0 in /run/netns/n1)"),
        "{text}"
    );
    let text = refused(&wanted(2, "eth0", 6, "a/one"));
    assert!(text.contains("a/one is attached already"), "{text}");

    assert_eq!(list.position("/run/netns/n1".as_ref(), "eth0"), Some(0));
    assert_eq!(list.position("/run/netns/n1".as_ref(), "eth1"), None);
    assert_eq!(list.vanished(), [0]);
    assert_eq!(list.remove(0).0.pod, "a/one");
    assert!(list.is_empty());
}

#[test]
fn the_list_survives_a_restart_with_mode_0600() {
    let dir = Dir::new("list");
    assert_eq!(load(&dir.0).unwrap(), []);
    let all: Vec<Attachment> = vec![
        wanted(1, "eth0", 5, "a/one").into(),
        wanted(2, "eth0", 6, "a/two").into(),
    ];
    save(&dir.0, all.iter()).unwrap();
    save(&dir.0, all.iter()).unwrap();
    assert_eq!(load(&dir.0).unwrap(), all);
    let file = dir.0.join("attachments.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(
        std::fs::read_dir(&dir.0).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn a_list_of_an_earlier_boot_is_empty_and_a_damaged_one_is_an_error() {
    let dir = Dir::new("damaged");
    let all: Vec<Attachment> = vec![wanted(1, "eth0", 5, "a/one").into()];
    save(&dir.0, all.iter()).unwrap();
    let file = dir.0.join("attachments.json");
    let whole = std::fs::read_to_string(&file).unwrap();
    for cut in 0..whole.len() {
        std::fs::write(&file, &whole[..cut]).unwrap();
        let error = load(&dir.0).unwrap_err();
        assert!(
            error.contains("attachments.json is damaged") && error.contains("Move it away"),
            "{cut}: {error}"
        );
    }
    // Of a later release, whatever else is in it; the file stays as it is.
    for more in ["", ", \"more\": [1]"] {
        let later = whole.replace("\"version\": 1", &format!("\"version\": 2{more}"));
        std::fs::write(&file, &later).unwrap();
        let error = load(&dir.0).unwrap_err();
        assert!(
            error.contains("version is 2") && error.contains("another release"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), later);
    }
    std::fs::write(&file, whole.replace("eth0", "../x")).unwrap();
    assert!(load(&dir.0).unwrap_err().contains("interface name"));
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    std::fs::write(&file, whole.replace(boot.trim(), "another")).unwrap();
    assert_eq!(load(&dir.0).unwrap(), []);
}

proptest! {
    #[test]
    fn any_request_is_answered(netns in ".*", interface in ".*", addresses in proptest::collection::vec(".*", 0..4), pod in ".*") {
        let request = AttachRequest { netns: netns.into(), interface, addresses, pod };
        if let Err(text) = check(&request, &own()) {
            prop_assert!(!text.is_empty() && text.len() < 2000);
        }
    }
}
