//! Decides what is known of the kernel's links, addresses, routes and neighbours: a complete reading first,
//! notifications after it, a complete reading again whenever some were lost. It never changes anything.

mod tables;

use crate::compile::Underlay;
use futures::StreamExt;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::MulticastGroup;
use std::time::Duration;
use tables::{Dirty, Tables};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Changes that come together are published together.
const SETTLE: Duration = Duration::from_millis(4);
/// Under steady change, something is published at least this often.
const LATEST: Duration = Duration::from_millis(40);
/// Everything is read again this often, in case the kernel left something out (it does not announce IPv4 routes that
/// go with their link).
const SAFETY: Duration = Duration::from_secs(60);
/// Pause before a lost connection to the kernel is opened again.
const REOPEN: Duration = Duration::from_millis(200);

const GROUPS: [MulticastGroup; 6] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// Follows the network namespace of the calling thread: `None` until the first complete reading. Interfaces in
/// `ignored` and loopbacks are left out. Runs on the current runtime until the receiver is dropped.
pub fn follow(uplink: String, ignored: Vec<String>) -> watch::Receiver<Option<Underlay>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        while !sender.is_closed() {
            if let Err(err) = session(&uplink, &ignored, &sender).await {
                tracing::warn!("{err}; what is known of the underlay stays in force, and it is read again");
                tokio::time::sleep(REOPEN).await;
            }
        }
    });
    receiver
}

/// One connection to the kernel. Ends without error when nobody listens any more, with one when notifications were
/// lost.
async fn session(uplink: &str, ignored: &[String], sender: &watch::Sender<Option<Underlay>>) -> Result<(), String> {
    let (connection, handle, mut notices) = rtnetlink::new_multicast_connection(&GROUPS)
        .map_err(|err| format!("cannot follow the kernel's routes and neighbours: {err}"))?;
    let connection = AbortOnDrop(tokio::spawn(connection));
    // Dumps have a connection of their own, so that a flood of notifications does not delay their answers.
    let dumps = super::connect()?;
    drop(handle);

    let mut tables = Tables::default();
    let mut dirty = Dirty::ALL;
    let mut safety = Instant::now() + SAFETY;
    loop {
        tables.read(&dumps, dirty).await?;
        dirty = Dirty::NONE;
        publish(sender, tables.underlay(uplink, ignored));

        // Wait for the first change, then for the end of the flurry.
        let mut changed = false;
        let mut due = safety;
        let mut latest = safety;
        loop {
            tokio::select! {
                () = sender.closed() => return Ok(()),
                () = sleep_until(due) => break,
                notice = notices.next() => {
                    let Some((message, _)) = notice else {
                        return Err("the kernel had more news than its socket could hold".into());
                    };
                    let touched = match message.payload {
                        NetlinkPayload::InnerMessage(inner) => tables.notice(&inner, &mut dirty),
                        NetlinkPayload::Overrun(_) => return Err("the kernel reports lost news".into()),
                        _ => false,
                    };
                    if touched {
                        let now = Instant::now();
                        if !changed {
                            changed = true;
                            latest = now + LATEST;
                        }
                        due = (now + SETTLE).min(latest);
                    }
                }
            }
        }
        if Instant::now() >= safety {
            dirty = Dirty::ALL;
            safety = Instant::now() + SAFETY;
        }
        if connection.0.is_finished() {
            return Err("the connection to the kernel ended".into());
        }
    }
}

fn publish(sender: &watch::Sender<Option<Underlay>>, next: Underlay) {
    sender.send_if_modified(|current| {
        let changed = current.as_ref() != Some(&next);
        if changed {
            *current = Some(next);
        }
        changed
    });
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether a notification says something about the tables.
fn is_link(message: &RouteNetlinkMessage) -> bool {
    matches!(
        message,
        RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_)
    )
}
