//! Decides where interfaces say how many packets they lost before anybody here could take them. It never resets a count.

use crate::link;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::path::PathBuf;

/// `IFLA_STATS64`, include/uapi/linux/if_link.h.
const STATS64: u16 = 23;

/// What an interface of the kernel has counted since it was made (`struct rtnl_link_stats64`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Packets that could not be sent by it. Those of a tap did not reach us: the queue was full, or nobody had it open.
    pub tx_dropped: u64,
    /// Packets for which a NIC had no room.
    pub rx_missed: u64,
}

/// What each of these interfaces has counted; `None` where it, or its namespace, is gone. Namespaces are entered on a thread of its own.
pub fn of(interfaces: &[(Option<PathBuf>, String)]) -> Vec<Option<Lost>> {
    let look = || {
        // Of the thread, not of the process: a caller may have another one than the process began in.
        let own = File::open("/proc/thread-self/ns/net").ok();
        let each = |(netns, name): &(Option<PathBuf>, String)| {
            let other = netns.as_ref().map(File::open);
            let namespace = other.as_ref().map_or(own.as_ref(), |file| file.as_ref().ok())?;
            setns(namespace, CloneFlags::CLONE_NEWNET).ok()?;
            here(name)
        };
        interfaces.iter().map(each).collect()
    };
    std::thread::scope(|scope| scope.spawn(look).join()).unwrap_or_else(|_| vec![None; interfaces.len()])
}

fn here(name: &str) -> Option<Lost> {
    let stats = link::ask(if_nametoindex(name).ok()?, STATS64)?;
    let at = |index: usize| {
        let word = stats.get(index * 8..)?.first_chunk()?;
        Some(u64::from_ne_bytes(*word))
    };
    Some(Lost {
        tx_dropped: at(7)?,
        rx_missed: at(15)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PacketIo;
    use crate::tap::{TapSpec, create};
    use crate::testing::{Lake, Namespace, plain};
    use sluice_wire::PortSlot;

    #[test]
    fn what_a_taps_queue_had_no_room_for_is_told() {
        const ROOM: u32 = 100;
        let (namespace, lake) = (Namespace::new(), Lake::new());
        let spec = TapSpec {
            name: "eth0".into(),
            netns: Some(namespace.path()),
            queues: 1,
            mac: None,
            mtu: 1500,
            tx_queue_len: ROOM,
            up: true,
            port: PortSlot(1),
            uso: true,
        };
        let mut tap = create(&spec).unwrap();
        let kernel = namespace.run(|| crate::testing::Raw::on("eth0"));
        let at = |name: &str| (Some(namespace.path()), name.to_owned());
        let lost = || of(&[at("none"), at("eth0"), (Some("/no/such".into()), "eth0".into())]);
        let none = [None, Some(Lost::default()), None];
        assert_eq!(lost(), none);
        (0..ROOM + 30).for_each(|n| {
            kernel.send(&plain(60, n as u8));
        });
        assert_eq!(lost()[1].unwrap().tx_dropped, 30);
        let lo = (None, "lo".to_owned());
        assert!(of(&[at("eth0"), lo])[1].is_some(), "back in the caller's own");
        Box::new(tap.queues.remove(0)).close(&mut lake.pools());
    }
}
