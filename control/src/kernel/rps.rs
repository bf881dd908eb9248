//! Lets other CPUs run the receive stack behind a pod's interface (RPS, `Documentation/networking/scaling.rst` of the kernel). It
//! never decides which pods need it.

use super::netns;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::path::Path;

/// Has packets for `interface` received on `cpus`, for all its queues.
///
/// # Errors
/// The namespace or the interface is not there, or the kernel has no RPS.
pub fn spread(path: &Path, interface: &str, cpus: &[usize]) -> Result<(), String> {
    let mask = mask(cpus);
    netns::within(path, || {
        // What sysfs shows of networks is that of whoever mounted it. The thread that does this ends with the mount.
        let private = || {
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(
                None::<&str>,
                "/",
                None::<&str>,
                MsFlags::MS_REC | MsFlags::MS_SLAVE,
                None::<&str>,
            )?;
            mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>)
        };
        private().map_err(|errno| format!("cannot look at the interfaces of {}: {}", path.display(), errno.desc()))?;
        let queues = format!("/sys/class/net/{interface}/queues");
        let entries = std::fs::read_dir(&queues).map_err(|err| format!("{queues}: {err}"))?;
        for entry in entries.flatten() {
            let file = entry.path().join("rps_cpus");
            if file.exists() {
                std::fs::write(&file, &mask).map_err(|err| format!("{}: {err}", file.display()))?;
            }
        }
        Ok(())
    })
}

/// A set of CPUs as sysfs wants it: words of 32 bits in hexadecimal, the highest first.
fn mask(cpus: &[usize]) -> String {
    let mut words = vec![0u32; cpus.iter().max().map_or(1, |most| most / 32 + 1)];
    for cpu in cpus {
        words[cpu / 32] |= 1 << (cpu % 32);
    }
    let words: Vec<_> = words.iter().rev().map(|word| format!("{word:08x}")).collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn masks_are_words_from_the_highest() {
        assert_eq!(mask(&[]), "00000000");
        assert_eq!(mask(&[0, 3]), "00000009");
        assert_eq!(mask(&[1, 31, 32, 70]), "00000040,00000001,80000002");
    }
}
