//! Over a wire in memory: what was done to packets is what is found.

use super::*;
use crate::report::Progress;
use sluice_io::fault::{FaultCounts, Faults};
use std::collections::BTreeMap;
use std::sync::Arc;

fn run(stream: &Stream, faults: &str, pace: Pace, until: Until) -> (Report, BTreeMap<&'static str, u64>) {
    let counts: Arc<FaultCounts> = Arc::default();
    let faults: Faults = faults.parse().unwrap();
    let mut bench = Bench::memory([None; 2], Wait::Sleep).unwrap();
    bench.spoil(faults, &counts).unwrap();
    let mut source = bench.prepare(stream).unwrap();
    let report = bench.run(&mut source, pace, until, &mut Progress::new(1)).unwrap();
    (report, counts.list().into_iter().collect())
}

/// Seconds from when the first packet was due, at the latest, to when the last one left.
fn took(report: &Report) -> f64 {
    report.seconds + report.late_ns as f64 / 1e9
}

#[test]
fn exactly_the_faults_that_were_made_are_found() {
    for (faults, flows) in [
        ("drop=3000,seed=1", 1),
        ("duplicate=3000,seed=2", 100),
        ("reorder=3000,seed=3", 1),
        ("drop=3000,duplicate=5000,reorder=7000,stall=1000,seed=4", 5000),
    ] {
        let stream = Stream { flows, ..stream() };
        let (report, made) = run(&stream, faults, Pace::Max, Until::Packets(40_000));
        let found = (report.lost, report.duplicates, report.reordered);
        let wanted = (made["fault_dropped"], made["fault_duplicated"], made["fault_reordered"]);
        assert_eq!(found, wanted, "{faults}");
        assert_eq!(wanted.0 > 0, faults.contains("drop"), "{faults}: {made:?}");
        assert_eq!(wanted.1 > 0, faults.contains("duplicate"), "{faults}: {made:?}");
        assert_eq!(wanted.2 > 0, faults.contains("reorder"), "{faults}: {made:?}");
        assert_eq!((report.sent, report.received + report.lost), (40_000, 40_000));
        assert_eq!((report.foreign, report.stale), (0, 0));
        assert_eq!(
            report.reordered_in_flow,
            if flows == 1 { report.reordered } else { 0 },
            "neighbours are of other flows"
        );
        assert_eq!(
            (report.extents.len(), report.extents.max()),
            (report.reordered, report.reordered.min(1))
        );
        assert_eq!(report.latency.len(), report.received);
    }
}

#[test]
fn nothing_is_found_where_nothing_was_done_and_the_next_run_begins_anew() {
    let mut bench = Bench::memory([None; 2], Wait::Spin).unwrap();
    let stream = Stream {
        flows: 64,
        size: Size::Imix,
        ..stream()
    };
    let mut source = bench.prepare(&stream).unwrap();
    for packets in [1, 5000] {
        let report = bench
            .run(&mut source, Pace::Max, Until::Packets(packets), &mut Progress::new(1))
            .unwrap();
        assert_eq!(counts(&report), [packets, packets, 0, 0, 0, 0]);
        assert!(report.kernel_losses.is_empty() && report.unsent() == 0);
    }
}

#[test]
fn no_packet_leaves_before_it_is_due_and_a_stop_is_heard() {
    let (report, _) = run(&stream(), "seed=1", Pace::Rate(20_000.0), Until::Packets(1000));
    assert_eq!((report.sent, report.received), (1000, 1000));
    assert!(took(&report) >= 0.04994, "{}", took(&report));
    let (report, _) = run(&stream(), "seed=1", Pace::Ramp(0.0, 40_000.0), Until::Packets(1000));
    assert_eq!(report.received, 1000);
    assert!(took(&report) >= 0.0499, "{}", took(&report));

    let mut bench = Bench::memory([None; 2], Wait::Sleep).unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    bench.stopped_by(&stop);
    let mut source = bench.prepare(&stream()).unwrap();
    let report = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            bench.run(
                &mut source,
                Pace::Rate(1000.0),
                Until::Packets(1 << 40),
                &mut Progress::new(1),
            )
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        run.join().unwrap().unwrap()
    });
    assert!(report.sent < 1 << 40 && report.lost == 0 && report.unsent() > 0);
}

/// A pause is not cut short by packets that become due: the first of them is late by about all of it.
#[test]
fn a_generator_that_pauses_sends_in_bursts() {
    let pause = std::time::Duration::from_millis(20);
    let mut bench = Bench::memory([None; 2], Wait::Pause(pause)).unwrap();
    let mut source = bench.prepare(&stream()).unwrap();
    let (pace, until) = (Pace::Rate(10_000.0), Until::Packets(600));
    let report = bench.run(&mut source, pace, until, &mut Progress::new(1)).unwrap();
    assert_eq!((report.sent, report.received), (600, 600));
    assert!(report.late_ns >= 19_000_000, "{}", report.late_ns);
}

#[test]
fn a_recording_is_counted() {
    let counts: Arc<FaultCounts> = Arc::default();
    let mut bench = Bench::memory([None; 2], Wait::Sleep).unwrap();
    bench.spoil("drop=20000,seed=5".parse().unwrap(), &counts).unwrap();
    let path = std::env::temp_dir().join(format!("sluice-recording-{}.pcap", std::process::id()));
    let mut writer = sluice_io::pcap::Writer::new(Vec::new(), 2000).unwrap();
    let memory = sluice_mem::Memory::new(2048, 1).unwrap();
    let mut pool = memory.pool();
    for n in 0..1000u64 {
        let mut buf = pool.alloc().unwrap();
        buf.extend(60).unwrap().fill(n as u8);
        writer.write(std::time::Duration::from_micros(20 * n), &buf).unwrap();
        pool.free(buf).unwrap();
    }
    std::fs::write(&path, writer.into_inner()).unwrap();
    let recording = replay::Recording::load(&path);
    std::fs::remove_file(&path).unwrap();
    let recording = recording.unwrap();
    let pace = Pace::Times(recording.times().unwrap());
    let mut source = bench.prepare_recording(recording).unwrap();
    let report = bench
        .run(&mut source, pace, Until::Packets(1000), &mut Progress::new(1))
        .unwrap();
    let dropped = counts.list()[0].1;
    assert_eq!(
        (report.sent, report.received, report.lost),
        (1000, 1000 - dropped, dropped)
    );
    assert!(
        dropped > 0 && took(&report) >= 0.01997 && !report.marked,
        "{}",
        took(&report)
    );
}

#[test]
fn what_cannot_be_sent_is_refused_with_what_to_do() {
    let said = |stream: &Stream| {
        let bench = Bench::memory([None; 2], Wait::Sleep).unwrap();
        bench.prepare(stream).err().unwrap().to_string()
    };
    let narrow = Party {
        addresses: "10.0.0.1".parse().unwrap(),
        ports: "1-10".parse().unwrap(),
    };
    assert!(
        said(&Stream {
            flows: 161,
            src: narrow,
            ..stream()
        })
        .contains("there are 140"),
        "{}",
        said(&Stream {
            flows: 161,
            src: narrow,
            ..stream()
        })
    );
    let six = Party {
        addresses: "fd00::1".parse().unwrap(),
        ports: "1".parse().unwrap(),
    };
    assert!(said(&Stream { src: six, ..stream() }).contains("one family"));
    assert!(
        said(&Stream {
            src: six,
            dst: six,
            ..stream()
        })
        .contains("84 are the fewest")
    );
    assert!(said(&Stream { flows: 0, ..stream() }).contains("--flows"));
    assert!(
        "vni=1,src=10.0.0.1"
            .parse::<Vxlan>()
            .unwrap_err()
            .contains("says no dst")
    );
    for wrong in [
        "vni=16777216",
        "src=ten",
        "port=70000",
        "src-mac=1:2",
        "colour=red",
        "vni",
    ] {
        assert!(wrong.parse::<Vxlan>().unwrap_err().contains(wrong), "{wrong}");
    }
}
