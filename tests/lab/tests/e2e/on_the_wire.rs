//! What we send, in the eyes of another decoder.

use crate::clients::{curl, datagram, echoes, ping};
use crate::cluster::*;
use sluice_lab::{Lab, Output, Place};
use std::collections::BTreeSet;

/// Payload of the last packet of a capture.
const LAST: &str = "the last packet of this capture";

/// Frames as they leave node-a, while `traffic` runs.
fn capture(lab: &Lab, traffic: impl FnOnce()) -> String {
    let wire = lab.place("net").unwrap();
    let file = lab.dir().join("wire.pcap").to_string_lossy().into_owned();
    let command = [
        "tcpdump",
        "-Z",
        "root",
        "-i",
        "n0",
        "-Q",
        "in",
        "-n",
        "-U",
        "--immediate-mode",
        "-B",
        "65536",
        // In immediate mode every packet takes a slot of this size from that buffer.
        "-s",
        "2048",
        "-w",
        &file,
        "udp port 8472",
    ];
    let tcpdump = wire.spawn(&command).unwrap();
    let begun = || std::fs::metadata(&file).is_ok_and(|m| m.len() > 0);
    lab.wait("tcpdump to begin", PATIENCE, begun).unwrap();
    traffic();
    // Packets come out of the kernel's buffer in order: when this one is in the file, all are.
    datagram(
        &lab.pod("user").unwrap(),
        (address(lab, "web-2", false), 7),
        LAST,
        PATIENCE,
    )
    .unwrap();
    let written = || std::fs::read(&file).is_ok_and(|f| f.windows(LAST.len()).any(|part| part == LAST.as_bytes()));
    lab.wait("all of it to be written", PATIENCE, written).unwrap();
    let said = tcpdump.stop();
    assert!(said.stderr.contains("\n0 packets dropped by kernel"), "{said}");
    file
}

/// Every checksum is looked at, also where it says zero.
fn tshark(wire: &Place<'_>, file: &str, filter: &str, fields: &[&str]) -> Output {
    let mut command = vec!["tshark", "-n", "-r", file, "-d", "udp.port==8472,vxlan", "-Y", filter];
    for check in [
        "ip.check_checksum:TRUE",
        "tcp.check_checksum:TRUE",
        "udp.check_checksum:TRUE",
    ] {
        command.extend(["-o", check]);
    }
    if !fields.is_empty() {
        command.extend(["-T", "fields"]);
        command.extend(fields.iter().flat_map(|field| ["-e", field]));
    }
    let output = wire.run_for(&command, PATIENCE * 3).unwrap();
    output.text().unwrap();
    output
}

#[test]
fn tshark_decodes_what_we_send_and_finds_every_checksum_right() {
    in_lab(&two_nodes(), |lab| {
        let user = lab.pod("user").unwrap();
        let file = capture(lab, || {
            for v6 in FAMILIES {
                let far = address(lab, "web-2", v6);
                ping(&user, far);
                assert_eq!(curl(&user, far, "/"), "web-2");
                echoes(&user, (far, 7), 3);
                echoes(&user, (of(ECHO, v6), 7), 16);
                // Upwards, so that super-frames are cut on the captured side. Random bytes might look like some protocol.
                let upload = user
                    .run(&["iperf3", "--repeating-payload", "-n", "3M", "-c", &far.to_string()])
                    .unwrap();
                assert!(upload.ok(), "{upload}");
            }
        });
        let wire = lab.place("net").unwrap();
        let wrong = "_ws.malformed || _ws.expert.severity == error || _ws.unreassembled \
             || ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0 \
             || icmp.checksum.status == 0 || icmpv6.checksum.status == 0 || !vxlan";
        let complaints = |file: &str| {
            let fields = ["frame.number", "_ws.expert.message", "_ws.col.Info"];
            let lines = tshark(&wire, file, wrong, &fields).stdout;
            lines.lines().map(String::from).collect::<Vec<_>>()
        };
        let said = complaints(&file);
        assert!(
            said.is_empty(),
            "{} complaints, the first: {:#?}",
            said.len(),
            &said[..said.len().min(5)]
        );
        let mut bytes = std::fs::read(&file).unwrap();
        let at = bytes
            .windows(LAST.len())
            .position(|part| part == LAST.as_bytes())
            .unwrap();
        bytes[at] ^= 1;
        let damaged = format!("{file}.damaged");
        std::fs::write(&damaged, bytes).unwrap();
        assert_eq!(complaints(&damaged).len(), 1, "one damaged packet is seen");

        let count = |filter: &str| tshark(&wire, &file, filter, &["frame.number"]).stdout.lines().count();
        for (inner, at_least) in [("ip.version == 4", 500), ("ipv6", 500)] {
            let full = format!("tcp.checksum.status == 1 && tcp.len > 1000 && {inner}");
            assert!(
                count(&full) >= at_least,
                "segments of super-frames, {inner}: {}",
                count(&full)
            );
        }
        assert!(count("icmp.checksum.status == 1 && icmp.type == 8") >= 3);
        assert!(count("icmpv6.checksum.status == 1 && icmpv6.type == 128") >= 3);
        assert!(count("udp.dstport == 7 && udp.checksum.status == 1 && ip.dst == 10.244.2.5") >= 3);
        assert!(count("udp.dstport == 7 && udp.checksum.status == 1 && ipv6.dst == fd00:244:2::5") >= 3);
        assert_eq!(count("vxlan.vni != 1 || frame.len > 1514"), 0);
        let flags = tshark(&wire, &file, "vxlan", &["vxlan.flags"]).stdout;
        let flags: BTreeSet<&str> = flags.lines().collect();
        assert_eq!(flags, ["0x0800"].into(), "the I bit alone");
        let ports = tshark(&wire, &file, "vxlan", &["udp.srcport"]).stdout;
        let ports: BTreeSet<&str> = ports
            .lines()
            .map(|line| line.split(',').next().unwrap_or_default())
            .collect();
        assert!(ports.len() > 10, "flows differ in their outer source port: {ports:?}");
    });
}
