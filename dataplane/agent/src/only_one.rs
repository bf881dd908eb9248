//! Decides whether this agent may serve the network namespace it runs in. It never takes the place of another.
//!
//! There is one `sluice0` in a namespace and one program on an uplink, so a second agent would take the first one's queues from it,
//! whatever its uplink and its files are. The lock is a socket's abstract name: such names are the network namespace's, as
//! is what the lock is for, while a file would be missed by an agent in a container with other mounts; and it goes with its holder, however
//! that ends. A second name says who the holder is.

use anyhow::bail;
use std::io::{Error, ErrorKind};
use std::os::linux::fs::MetadataExt;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::{Duration, Instant};

const NAME: &str = "sluice-agent";
/// How long one that ends is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// One that was killed lasts until the kernel has taken its queues down, which on a busy machine takes seconds.
const GOING: Duration = Duration::from_secs(20);
/// Longest abstract name, bytes.
const LONGEST: usize = 107;

/// Held as long as the agent touches anything.
#[derive(Debug)]
pub(crate) struct OnlyOne {
    _lock: UnixDatagram,
    _who: Option<UnixDatagram>,
}

impl OnlyOne {
    /// For the network namespace of the calling thread.
    ///
    /// # Errors
    /// Another agent is here; the text says which.
    pub(crate) fn here(uplink: &str, socket: &Path) -> anyhow::Result<Self> {
        Self::named(NAME, uplink, socket, PATIENCE)
    }

    /// The same, after another agent that is about to end has done so.
    ///
    /// # Errors
    /// It is still here.
    pub(crate) fn after(uplink: &str, socket: &Path, patience: Duration) -> anyhow::Result<Self> {
        Self::named(NAME, uplink, socket, patience)
    }

    /// Whether another agent is here now.
    pub(crate) fn is_held() -> bool {
        bind(NAME).is_err_and(|err| err.kind() == ErrorKind::AddrInUse) && !is_going(NAME)
    }

    fn named(name: &str, uplink: &str, socket: &Path, patience: Duration) -> anyhow::Result<Self> {
        let deadline = Instant::now() + patience;
        let lock = loop {
            match bind(name) {
                Ok(lock) => break lock,
                Err(err) if err.kind() != ErrorKind::AddrInUse => {
                    bail!("cannot tell whether another agent runs here: {err}")
                }
                Err(_) if Instant::now() < deadline || (Instant::now() < deadline + GOING && is_going(name)) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(_) => bail!(
                    "another agent serves this network namespace already{}; one can, as sluice0 and the uplink's program are there once. Stop it first",
                    holder(name).map_or_else(String::new, |who| format!(" ({})", shown(&who, pid_namespace())))
                ),
            }
        };
        let (pid, space) = (std::process::id(), pid_namespace());
        let who = format!(
            "{name}: pid {pid} of {space}, uplink {uplink}, socket {}",
            socket.display()
        );
        // Without it the lock holds all the same.
        let who = bind(&who[..who.floor_char_boundary(LONGEST)]).ok();
        Ok(Self { _lock: lock, _who: who })
    }
}

fn bind(name: &str) -> Result<UnixDatagram, Error> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

/// What the holder says of itself, from the namespace's list of sockets.
fn holder(name: &str) -> Option<String> {
    let sockets = std::fs::read_to_string("/proc/thread-self/net/unix").ok()?;
    let before = format!(" @{name}: ");
    sockets
        .lines()
        .find_map(|line| Some(line.split_once(&before)?.1.escape_debug().to_string()))
}

/// The holder's words, for people.
fn shown(who: &str, own: u64) -> String {
    let named = who
        .split_once(',')
        .and_then(|(pid, rest)| Some((pid.split_once(" of ")?, rest)));
    match named {
        Some(((pid, space), rest)) if space == own.to_string() => format!("{pid},{rest}"),
        Some(((pid, _), rest)) => format!("{pid} of another container,{rest}"),
        None => who.to_owned(),
    }
}

/// Whether the holder is dead already, and only its descriptors are still being closed.
fn is_going(name: &str) -> bool {
    let holder = holder(name).and_then(|who| {
        let (pid, space) = who.strip_prefix("pid ")?.split_once(',')?.0.split_once(" of ")?;
        Some((pid.to_owned(), space.to_owned()))
    });
    // What has this pid in another container is somebody else.
    let seen = holder.filter(|(_, space)| *space == pid_namespace().to_string());
    seen.is_some_and(|(pid, _)| match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => is_exiting(&stat),
        Err(_) => true,
    })
}

/// Inode of the process namespace, in which a pid means something; 0 where there is no /proc.
fn pid_namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.st_ino())
}

/// From a line of /proc/PID/stat: behind the name, which may contain anything, are the state (Z and X are dead) and, six fields later, the
/// kernel's flags, of which 4 is PF_EXITING.
fn is_exiting(stat: &str) -> bool {
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let state = fields.next().unwrap_or_default();
    let flags: u32 = fields.nth(5).and_then(|flags| flags.parse().ok()).unwrap_or(0);
    matches!(state, "Z" | "X") || flags & 4 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_and_told_who_the_first_is_until_that_has_gone() {
        let pid = std::process::id();
        let name = format!("sluice-agent-test-{pid}");
        let socket = format!("/run/{}.sock", "long".repeat(30));
        let named = |uplink, socket, patience| OnlyOne::named(&name, uplink, Path::new(socket), patience);
        let take = |uplink, socket| named(uplink, socket, Duration::ZERO);
        let first = take("eth1", "/run/a.sock").unwrap();
        let text = take("eth2", "/run/b.sock").unwrap_err().to_string();
        assert!(
            text.contains(&format!("(pid {pid}, uplink eth1, socket /run/a.sock)")),
            "{text}"
        );
        drop(first);
        // A child that another test starts at this moment holds copies of both sockets until it becomes its program.
        let _second = named("eth2", &socket, Duration::from_secs(10)).unwrap();
        let text = take("eth1", "/run/a.sock").unwrap_err().to_string();
        assert!(text.contains("uplink eth2, socket /run/long"), "{text}");
    }

    #[test]
    fn a_holder_in_another_container_is_told_as_such() {
        assert_eq!(
            shown("pid 1 of 77, uplink e, socket s", 77),
            "pid 1, uplink e, socket s"
        );
        assert_eq!(
            shown("pid 1 of 78, uplink e", 77),
            "pid 1 of another container, uplink e"
        );
        assert_eq!(shown("of an older version", 77), "of an older version");
    }

    #[test]
    fn a_process_that_is_dead_is_told_from_one_that_runs() {
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        assert!(!is_exiting(&own), "{own}");
        let dead = "7 (a) R ) name) Z 1 7 7 0 -1 4194316 0 0";
        assert!(is_exiting(dead) && is_exiting(&dead.replace(" Z ", " S ")));
        assert!(!is_exiting(&dead.replace(" Z ", " S ").replace("4194316", "4194304")));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_exiting(&std::fs::read_to_string(&stat).unwrap()) {
            assert!(Instant::now() < deadline, "it ends, and nobody has waited for it");
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }
}
