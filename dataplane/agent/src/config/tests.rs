use super::keys::KEYS;
use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<Config, String> {
    read::config_as(text.as_bytes(), None).map_err(|fault| fault.in_file(Path::new("c.yaml")).to_string())
}

/// What is said about a configuration that is right but for `text`.
#[track_caller]
fn said(text: &str) -> String {
    match parse(&format!("uplink: {{interface: eth1}}\n{text}")) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(text) => text.strip_prefix("config c.yaml, ").unwrap_or(&text).into(),
    }
}

fn with(text: &str) -> Config {
    parse(&format!("uplink: {{interface: eth1}}\n{text}")).unwrap()
}

#[test]
fn the_example_says_exactly_the_defaults() {
    assert_eq!(parse(EXAMPLE), Ok(Config::with_defaults("eth0".into())));
}

#[test]
fn the_example_names_every_key() {
    // With its optional keys taken in, too.
    let text = EXAMPLE
        .replace("# node:", "node:")
        .replace("source: manifests", "source: kubernetes")
        .replace("  # kubeconfig:", "  kubeconfig:")
        .replace("  # servers:", "  servers:")
        .replace("  # mtu:", "  mtu:")
        .replace("  # cpus:", "  cpus:");
    let config = parse(&text).unwrap();
    assert_eq!(
        (config.node.as_str(), config.vxlan.mtu, config.workers.pinned),
        ("node-a", Some(1450), Some(vec![3]))
    );
    let mut section = "";
    let mut keys = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        match (name.strip_prefix("  "), value.trim()) {
            (Some(name), _) => keys.push(format!("{section}.{name}")),
            (None, "") => section = name,
            (None, _) => keys.push(name.into()),
        }
    }
    assert_eq!(keys, KEYS);
}

#[test]
fn every_key_is_taken() {
    let config = with(
        "node: node-b.example
manifests: /m
socket: /s
bpffs: /b
vxlan: {vni: 4096, port: 4789, mtu: 8950}
workers: {count: 2, cpus: [5, 0], polling: busy, priority: normal}
services: {scheduler: mh, cidrs: [10.96.0.0/16, fd00:96::/112], nodeports: 20000-20999}
snat: {ports: 50000-50999}
memory: {frames: 1024, connections: 2000, flows: 4000}
limits: {connections_percent: 50, new_flows: 100, new_flows_burst: 200}
log: {level: debug, format: json}
",
    );
    assert_eq!(
        (config.node.as_str(), config.manifests, config.socket, config.bpffs),
        ("node-b.example", "/m".into(), "/s".into(), "/b".into())
    );
    assert_eq!(
        config.vxlan,
        VxlanConfig {
            vni: Vni::new(4096).unwrap(),
            port: 4789,
            mtu: Some(8950)
        }
    );
    assert_eq!(
        config.workers,
        WorkersConfig {
            count: 2,
            pinned: Some(vec![5, 0]),
            polling: Polling::Busy,
            priority: Priority::Normal
        }
    );
    assert_eq!(config.workers.cpus(), [5, 0]);
    let cidrs: Vec<_> = config.services.cidrs.iter().map(Prefix::to_string).collect();
    assert_eq!(
        (config.services.scheduler, cidrs),
        (SchedulerKind::Mh, vec!["10.96.0.0/16".into(), "fd00:96::/112".into()])
    );
    assert_eq!(config.services.nodeports.to_string(), "20000-20999");
    assert_eq!(
        config.snat.ports,
        PortRange {
            first: 50_000,
            last: 50_999
        }
    );
    assert_eq!(
        config.memory,
        MemoryConfig {
            frames: 1024,
            connections: 2000,
            flows: 4000
        }
    );
    assert_eq!(
        config.limits,
        LimitsConfig {
            connections_percent: 50,
            new_flows: 100,
            new_flows_burst: 200
        }
    );
    let most = |all| config.limits.connections(all);
    assert_eq!(
        (most(2000), most(262_144), most(16_777_216)),
        (1024, 131_072, 8_388_608)
    );
    assert_eq!(
        config.log,
        LogConfig {
            level: tracing::Level::DEBUG,
            format: LogFormat::Json
        }
    );
    let queues = |text: &str| {
        parse(&format!("uplink: {{interface: e, queues: {text}}}"))
            .unwrap()
            .uplink
            .queues
    };
    assert_eq!(
        (queues("all"), queues("3"), queues("")),
        (Queues::All, Queues::Number(3), Queues::All)
    );
}

#[test]
fn the_uplink_is_named_or_found() {
    let uplink = |text: &str| parse(&format!("uplink: {{interface: {text}}}"));
    let found = |text: &str| uplink(text).map(|config| (config.uplink.interface, config.uplink.find));
    let like = |said: &str, list: &[&str]| {
        let list = list.iter().map(|pattern| (*pattern).to_owned()).collect();
        Ok((said.to_owned(), Some(Find::Like(list))))
    };
    assert_eq!(found("eth0.7"), Ok(("eth0.7".into(), None)));
    assert_eq!(found("[eth0]"), Ok(("eth0".into(), None)));
    assert_eq!(found("auto"), Ok(("auto".into(), Some(Find::Address))));
    assert_eq!(found("eth*"), like("eth*", &["eth*"]));
    assert_eq!(found("\"bond?,eth1\""), like("bond?, eth1", &["bond?", "eth1"]));
    assert_eq!(found("[bond*, eth1]"), like("bond*, eth1", &["bond*", "eth1"]));
    let want = "want the name of an interface, such as eth1, or `auto`, or patterns, such as [bond*, eth*]";
    for (text, said) in [
        ("[]", "`uplink.interface` is a list"),
        ("\"eth*,\"", "`uplink.interface` is `eth*,`"),
        ("[eth0, a/b]", "`uplink.interface` has `a/b`"),
        ("[7]", "`uplink.interface` has `7`"),
    ] {
        assert_eq!(uplink(text), Err(format!("config c.yaml, line 1: {said}; {want}")));
    }
}

#[test]
fn workers_take_the_cpus_that_their_container_leaves_them() {
    let cpus = |count: usize| {
        let mut config = with("").workers;
        config.count = count;
        config.cpus()
    };
    let allowed = core_affinity::get_core_ids().unwrap();
    // What a cpuset leaves a process is what its threads may use.
    let narrowed = move || {
        let first = allowed[0];
        assert!(core_affinity::set_for_current(first));
        assert_eq!(cpus(1), [first.id]);
        assert!(cpus(2).is_empty(), "nobody is pinned to a CPU that it may not use");
    };
    std::thread::spawn(narrowed).join().unwrap();
}

#[test]
fn the_configuration_to_deploy_with_is_right() {
    let text = include_str!("../../../../deploy/config.yaml");
    let map: serde_json::Value = serde_saphyr::from_str(text).unwrap();
    let inner = map["data"]["config.yaml"].as_str().unwrap();
    let config = parse(inner).unwrap();
    assert_eq!(
        (config.source, config.uplink.find),
        (Source::Kubernetes, Some(Find::Address))
    );
    assert!(config.kubernetes.kubeconfig.is_none(), "it is a pod");
    let own_servers = inner
        .replace("# kubernetes:", "kubernetes:")
        .replace("#   #", "  #")
        .replace("#   servers", "  servers");
    assert_eq!(
        parse(&own_servers).unwrap().kubernetes.servers.len(),
        1,
        "{own_servers}"
    );
}

#[test]
fn json_is_yaml_and_empty_sections_are_defaults() {
    assert_eq!(
        parse("{\"uplink\": {\"interface\": \"eth0\"}}"),
        Ok(Config::with_defaults("eth0".into()))
    );
    assert_eq!(with("workers:\nlog:\nnode:\n"), Config::with_defaults("eth1".into()));
}

#[test]
fn without_a_choice_workers_get_the_last_cpus_or_none() {
    let allowed = core_affinity::get_core_ids().unwrap();
    let cpus = |count| {
        WorkersConfig {
            count,
            pinned: None,
            polling: Polling::Busy,
            priority: Priority::Normal,
        }
        .cpus()
    };
    assert_eq!(cpus(1), [allowed.last().unwrap().id]);
    assert_eq!(
        cpus(allowed.len()),
        allowed.iter().map(|core| core.id).collect::<Vec<_>>()
    );
    assert!(cpus(allowed.len() + 1).is_empty());
}

#[test]
fn unknown_keys_are_named_with_line_path_and_the_one_that_was_meant() {
    let hint = "  (sluice config example prints all keys)";
    let cases = [
        (
            "worker:\n  cpu: [1]",
            "line 3: unknown key `worker.cpu`; did you mean `workers.cpus`?",
        ),
        (
            "\nworkers:\n  count: 1\n  pooling: busy",
            "line 5: unknown key `workers.pooling`; did you mean `workers.polling`?",
        ),
        (
            "worker.cpu: 3",
            "line 2: unknown key `worker.cpu`; did you mean `workers.cpus`?",
        ),
        (
            "interface: eth1",
            "line 2: unknown key `interface`; did you mean `uplink.interface`?",
        ),
        (
            "vxlan: {queues: 2}",
            "line 2: unknown key `vxlan.queues`; did you mean `uplink.queues`?",
        ),
        ("Node: a", "line 2: unknown key `Node`; did you mean `node`?"),
        (
            "workers: {count: {min: 1}, cups: [1]}",
            "line 2: unknown key `workers.cups`; did you mean `workers.cpus`?",
        ),
        ("frobnicate: true", "line 2: unknown key `frobnicate`"),
        ("\"\": 1", "line 2: unknown key ``"),
    ];
    for (text, want) in cases {
        assert_eq!(said(text), format!("{want}{hint}"), "{text}");
    }
    let long = said(&format!("{}: 1", "k".repeat(500)));
    assert!(long.len() < 200 && long.contains('…'), "{long}");
}

#[test]
fn wrong_values_are_quoted_with_what_is_wanted() {
    let cases = [
        (
            "workers: {count: 0}",
            "line 2: `workers.count` is `0`; want a number from 1 to 64",
        ),
        (
            "workers: {count: two}",
            "line 2: `workers.count` is `two`; want a number from 1 to 64",
        ),
        (
            "workers:\n  count: 1.5",
            "line 3: `workers.count` is `1.5`; want a number from 1 to 64",
        ),
        (
            "workers: {polling: bussy}",
            "line 2: `workers.polling` is `bussy`; want one of adaptive, busy",
        ),
        (
            "workers: {cpus: 3}",
            "line 2: `workers.cpus` is `3`; want a list of CPU numbers from 0 to 1023",
        ),
        (
            "workers: {cpus: [1, x]}",
            "line 2: `workers.cpus` has `x`; want CPU numbers from 0 to 1023",
        ),
        (
            "workers: {cpus: [1, 2]}",
            "line 2: `workers.cpus` lists 2 CPUs for 1 workers (workers.count); want one for each",
        ),
        (
            "workers: {count: 2, cpus: [1, 1]}",
            "line 2: `workers.cpus` lists CPU 1 twice; want one for each worker",
        ),
        (
            "workers: 4",
            "line 2: `workers` is `4`; want a map with keys of count, cpus, polling, priority  (sluice config example prints all keys)",
        ),
        (
            "vxlan: {vni: 16777216}",
            "line 2: `vxlan.vni` is `16777216`; want a number from 1 to 16777215",
        ),
        (
            "vxlan: {port: 65536}",
            "line 2: `vxlan.port` is `65536`; want a number from 1 to 65535",
        ),
        (
            "vxlan: {mtu: 1279}",
            "line 2: `vxlan.mtu` is `1279`; want a number from 1280 to 65535",
        ),
        (
            "services: {scheduler: lru}",
            "line 2: `services.scheduler` is `lru`; want one of rr, wrr, lc, sh, mh, random",
        ),
        (
            "services:\n  cidrs:\n    - 10.96.0.0/12\n    - 10.96.0.0/33",
            "line 5: `services.cidrs` has `10.96.0.0/33`; want address blocks such as 10.96.0.0/12 or \"fd00:96::/112\"",
        ),
        (
            "snat: {ports: 70000-1}",
            "line 2: `snat.ports` is `70000-1`; want two ports from 1 to 65535, the lower one first, such as 40000-65535",
        ),
        (
            "memory: {frames: 1000}",
            "line 2: `memory.frames` is `1000`; want a number from 1024 to 524288",
        ),
        (
            "memory: {frames: -1}",
            "line 2: `memory.frames` is `-1`; want a number from 1024 to 524288",
        ),
        (
            "log: {level: loud}",
            "line 2: `log.level` is `loud`; want one of error, warn, info, debug, trace",
        ),
        (
            "log: {format: [json]}",
            "line 2: `log.format` is a list; want one of human, json",
        ),
        (
            "node: 7",
            "line 2: `node` is `7`; want the name of a Node object: lower-case letters, digits, `-` and `.`; put it in quotes if it is one",
        ),
        (
            "node: Node_A",
            "line 2: `node` is `Node_A`; want the name of a Node object: lower-case letters, digits, `-` and `.`",
        ),
        (
            "manifests: etc/m",
            "line 2: `manifests` is `etc/m`; want an absolute path",
        ),
    ];
    for (text, want) in cases {
        assert_eq!(said(text), want, "{text}");
    }
    assert!(said(&format!("socket: /{}", "s".repeat(90))).ends_with("want a path of at most 87 bytes"));
    let uplink = |text: &str| parse(&format!("uplink: {text}")).unwrap_err();
    assert_eq!(
        uplink("{interface: averyveryverylongname}"),
        "config c.yaml, line 1: `uplink.interface` is `averyveryverylongname`; want the name of an interface, such as eth1, or `auto`, or patterns, such as [bond*, eth*]"
    );
    assert_eq!(
        uplink("{interface: e, queues: some}"),
        "config c.yaml, line 1: `uplink.queues` is `some`; want `all` or a number from 1 to 1024"
    );
}

#[test]
fn where_objects_come_from_is_said_once() {
    let file = with("");
    assert_eq!(file.source, Source::Manifests);
    let cluster = with(
        "source: kubernetes\nkubernetes: {kubeconfig: /k, servers: [\"https://192.0.2.9:6443\", \"https://[2001:db8::9]:6443\"]}",
    );
    assert_eq!(
        (cluster.source, cluster.kubernetes.kubeconfig),
        (Source::Kubernetes, Some("/k".into()))
    );
    assert_eq!(cluster.kubernetes.servers.len(), 2);
    assert_eq!(
        with("source: kubernetes").kubernetes,
        KubernetesConfig::default(),
        "as a pod"
    );
    for (text, want) in [
        (
            "source: etcd",
            "line 2: `source` is `etcd`; want one of manifests, kubernetes",
        ),
        (
            "kubernetes: {kubeconfig: /k}",
            "line 2: `kubernetes.kubeconfig` is set, but objects come from manifests; want `source: kubernetes`, too",
        ),
        (
            "source: kubernetes\nkubernetes: {servers: [192.0.2.9]}",
            "line 3: `kubernetes.servers` has `192.0.2.9`; want addresses such as https://10.0.0.10:6443",
        ),
        (
            "source: kubernetes\nkubernetes: {kubeconfig: k}",
            "line 3: `kubernetes.kubeconfig` is `k`; want an absolute path",
        ),
    ] {
        assert_eq!(said(text), want, "{text}");
    }
}

#[test]
fn ports_of_services_and_of_masquerading_are_apart() {
    let way_out = ", and a port has one use; take snat.ports out of the way of services.nodeports, which are those of the API server \
                   (--service-node-port-range)";
    let cases = [
        (
            "services: {nodeports: 30000-40000}",
            "line 2: `services.nodeports` is 30000-40000 and `snat.ports` 40000-65535: both have 40000-40000",
        ),
        (
            "snat:\n  ports: 32767-33000",
            "line 3: `snat.ports` is 32767-33000 and `services.nodeports` 30000-32767: both have 32767-32767",
        ),
        (
            "services: {nodeports: 20000-29999}\nsnat: {ports: 1024-65535}",
            "line 3: `snat.ports` is 1024-65535 and `services.nodeports` 20000-29999: both have 20000-29999",
        ),
    ];
    for (text, want) in cases {
        assert_eq!(said(text), format!("{want}{way_out}"));
    }
    with("services: {nodeports: 30000-39999}");
    with("snat: {ports: 32768-65535}");
    with("services: {nodeports: 50000-60000}\nsnat: {ports: 40000-49999}");
}

#[test]
fn the_tunnels_port_is_none_of_the_others() {
    let way_out = "both have {}, and a port has one use; take the range out of its way";
    let said_of = |text, want: &str, both| assert_eq!(said(text), format!("{want}: {}", way_out.replace("{}", both)));
    said_of(
        "vxlan: {port: 40000}",
        "line 2: `vxlan.port` is 40000-40000 and `snat.ports` 40000-65535",
        "40000-40000",
    );
    said_of(
        "services: {nodeports: 8000-9000}",
        "line 2: `services.nodeports` is 8000-9000 and `vxlan.port` 8472-8472",
        "8472-8472",
    );
    with("vxlan: {port: 39999}");
}

proptest! {
    #[test]
    fn exactly_ranges_with_a_common_port_are_refused(a in (1u16..60, 0u16..60), b in (1u16..60, 0u16..60)) {
        let [a, b] = [a, b].map(|(first, more)| first..=first + more);
        let text = format!(
            "uplink: {{interface: e}}\nservices: {{nodeports: {}-{}}}\nsnat: {{ports: {}-{}}}",
            a.start(), a.end(), b.start(), b.end()
        );
        prop_assert_eq!(parse(&text).is_err(), a.into_iter().any(|port| b.contains(&port)));
    }
}

#[test]
fn a_file_that_is_no_configuration_says_what_to_do() {
    let missing = "config c.yaml: `uplink.interface` is missing; it names the interface to the other nodes, such as eth1, or is `auto`  (sluice config example prints all keys)";
    for text in ["", "# nothing\n", "uplink:\n", "uplink: {interface: }", "node: a"] {
        assert_eq!(parse(text), Err(missing.into()), "{text}");
    }
    assert_eq!(
        parse("just text"),
        Err(
            "config c.yaml: the file is `just text`; want keys and values  (sluice config example prints all keys)"
                .into()
        )
    );
    let twice = parse("uplink: {interface: a}\nnode: a\nnode: b\n").unwrap_err();
    assert!(
        twice.starts_with("config c.yaml, line 3: not valid YAML: ") && twice.contains("node"),
        "{twice}"
    );
    let open = parse("uplink: {interface: a\nnode: [").unwrap_err();
    assert!(
        open.starts_with("config c.yaml, line ") && !open.contains('\n'),
        "{open}"
    );
    let binary = read::config_as(b"node: a\nmanifests: \xff\n", None)
        .unwrap_err()
        .in_file(Path::new("c.yaml"));
    assert!(
        binary
            .to_string()
            .starts_with("config c.yaml, line 2: the file is no text in UTF-8"),
        "{binary}"
    );
    let gone = Config::load(Path::new("/nonexistent/c.yaml")).unwrap_err().to_string();
    assert!(
        gone.starts_with("config /nonexistent/c.yaml: there is no such file. Make one with  sluice config example"),
        "{gone}"
    );
    let endless = Config::load(Path::new("/dev/zero")).unwrap_err().to_string();
    assert_eq!(
        endless,
        "config /dev/zero: the file is longer than 256 KiB; it is no configuration"
    );
}

/// Texts near to a configuration, so that they get further than the parser.
fn near() -> impl Strategy<Value = String> {
    let words = [
        "uplink",
        "interface",
        "workers",
        "cpus",
        "count",
        "services",
        "cidrs",
        "snat",
        "ports",
        "node",
        "eth0",
        "40000-65535",
        "10.0.0.0/8",
        "64",
        "-1",
        "1e400",
        "all",
        "true",
        "~",
        "&a",
        "*a",
        "<<",
        "!!int",
        "|",
        "'",
        "\"",
        "#",
    ];
    let glue = [": ", "\n", "\n  ", "[", "]", "{", "}", ", ", "- ", "", "\t", "---\n"];
    let word = prop::sample::select(words.to_vec());
    let pair = (word, prop::sample::select(glue.to_vec())).prop_map(|(word, glue)| format!("{word}{glue}"));
    prop::collection::vec(pair, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_accepted_or_refused_in_one_line(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Err(fault) = read::config_as(&bytes, None) {
            prop_assert!(!fault.text.contains('\n') && fault.line != Some(0));
        }
    }

    #[test]
    fn so_are_texts_that_look_like_a_configuration(text in near()) {
        if let Err(fault) = read::config_as(text.as_bytes(), None) {
            prop_assert!(!fault.text.chars().any(char::is_control), "{}", fault.text);
            prop_assert!(fault.line.is_none_or(|line| (1..=text.lines().count() as u64 + 1).contains(&line)), "{:?}", fault.line);
        }
    }

    #[test]
    fn deep_nesting_ends_early(depth in 1usize..3000, open in prop::sample::select(vec!["[", "{a: ", "- "])) {
        prop_assert!(read::config_as(open.repeat(depth).as_bytes(), None).is_err());
    }
}
