use crate::scratch::{eventually, ip, pair};
use sluice_control::compile::Underlay;
use sluice_control::kernel::neighbours::Neighbours;
use sluice_control::kernel::{connect, underlay};
use sluice_wire::Addr;
use std::time::{Duration, Instant};
use tokio::sync::watch::Receiver;

async fn resolved(underlay: &Receiver<Option<Underlay>>, wanted: Addr) {
    eventually(&format!("{wanted} resolved"), || async {
        let now = underlay.borrow().clone()?;
        now.neighbours.iter().any(|n| n.addr == wanted).then_some(())
    })
    .await;
}

async fn reading(underlay: &mut Receiver<Option<Underlay>>) -> Underlay {
    let ready = |now: &Option<Underlay>| now.as_ref().is_some_and(|now| now.uplink.up && now.routes.len() >= 2);
    let now = tokio::time::timeout(Duration::from_secs(5), underlay.wait_for(ready)).await;
    now.expect("the uplink within five seconds").unwrap().clone().unwrap()
}

#[test]
fn next_hops_are_kept_resolved_and_let_go() {
    let (here, _there) = pair();
    here.run_async(|| async {
        let mut seen = underlay::follow("up0".into(), Vec::new());
        let now = reading(&mut seen).await;
        let mut neighbours = Neighbours::new(connect().unwrap());
        let v4 = Addr::v4([192, 0, 2, 2]);
        let v6 = "2001:db8::2".parse::<std::net::Ipv6Addr>().unwrap().into();
        let uplink = now.uplink.ifindex;
        neighbours.keep(&[(uplink, v4), (uplink, v6)]).await.unwrap();
        resolved(&seen, v4).await;
        resolved(&seen, v6).await;
        assert!(
            ip("neigh show 192.0.2.2 dev up0").contains("managed"),
            "{}",
            ip("neigh show")
        );

        // Flushed by somebody else: the refresh brings it back.
        ip("neigh del 192.0.2.2 dev up0");
        eventually("gone", || async {
            seen.borrow()
                .as_ref()?
                .neighbours
                .iter()
                .all(|n| n.addr != v4)
                .then_some(())
        })
        .await;
        let now = seen.borrow().clone().unwrap();
        neighbours.refresh(&now, false).await;
        resolved(&seen, v4).await;

        // Flushed, and back because the kernel itself needed it: nobody would look after it.
        ip("neigh del 192.0.2.2 dev up0");
        ip("neigh add 192.0.2.2 lladdr 02:00:00:00:00:99 nud stale dev up0");
        resolved(&seen, v4).await;
        let now = seen.borrow().clone().unwrap();
        neighbours.refresh(&now, true).await;
        let entry = ip("neigh show 192.0.2.2 dev up0");
        assert!(
            entry.contains("managed") && entry.contains("02:00:00:00:00:99"),
            "{entry}"
        );

        neighbours.keep(&[(uplink, v4)]).await.unwrap();
        assert_eq!(ip("neigh show 2001:db8::2 dev up0"), "");
        neighbours.cleanup().await;
        assert_eq!(ip("neigh show 192.0.2.2 dev up0"), "");
    });
}

#[test]
fn what_an_administrator_made_permanent_stays_so() {
    let (here, _there) = pair();
    here.run_async(|| async {
        let mut seen = underlay::follow("up0".into(), Vec::new());
        let uplink = reading(&mut seen).await.uplink.ifindex;
        ip("neigh add 192.0.2.2 lladdr 02:00:00:00:00:77 dev up0 nud permanent");
        let mut neighbours = Neighbours::new(connect().unwrap());
        neighbours.keep(&[(uplink, Addr::v4([192, 0, 2, 2]))]).await.unwrap();
        neighbours.cleanup().await;
        let entry = ip("neigh show 192.0.2.2 dev up0");
        assert!(
            entry.contains("02:00:00:00:00:77") && entry.contains("PERMANENT"),
            "{entry}"
        );
    });
}

#[test]
fn an_address_that_a_packet_waits_for_is_asked_for_once_a_second() {
    let (here, _there) = pair();
    here.run_async(|| async {
        let mut seen = underlay::follow("up0".into(), Vec::new());
        let now = reading(&mut seen).await;
        let mut neighbours = Neighbours::new(connect().unwrap());
        let (peer, far) = (Addr::v4([192, 0, 2, 2]), Addr::v4([198, 51, 100, 1]));
        let at = Instant::now();
        assert!(!neighbours.ask(far, &now, at).await, "not on the link");
        assert!(neighbours.ask(peer, &now, at).await);
        resolved(&seen, peer).await;
        assert!(!neighbours.ask(peer, &now, at + Duration::from_millis(900)).await);
        assert!(neighbours.ask(peer, &now, at + Duration::from_millis(1100)).await);
        let mut asked = 0;
        for last in 0..=255 {
            asked += u32::from(
                neighbours
                    .ask(Addr::v4([192, 0, 2, last]), &now, at + Duration::from_millis(1200))
                    .await,
            );
        }
        assert!((1..=128).contains(&asked), "{asked} were asked for at one time");
    });
}
