//! Pods whose receive stack costs a worker much time: a warning for people, and other CPUs for their packets.

use super::control::Control;
use crate::api::Warning;
use crate::kernel::rps;
use sluice_wire::PortSlot;
use std::collections::BTreeMap;

/// What a packet may cost its receiver on a worker's time, ns. Usual is 1,500; firewall rules by the thousand cost 25,000.
const SLOW_NS: u32 = 12_000;
/// Seconds in turn after which a pod counts as slow: a busy moment does not make it so.
const SECONDS: u32 = 3;
/// Seconds without traffic after which it is asked anew.
const FORGET: u32 = 60;

/// One pod that has been slow.
struct Slow {
    name: String,
    cost_ns: u32,
    seconds: u32,
    silent: u32,
    /// What was done about it.
    done: Option<Result<String, String>>,
}

/// The slow ones by port.
#[derive(Default)]
pub(super) struct SlowPods(BTreeMap<PortSlot, Slow>);

impl SlowPods {
    /// Takes in what packets cost each port's receiver during the last second; ports to be helped now.
    fn sample(&mut self, costs: &[(PortSlot, u32)], name: impl Fn(PortSlot) -> Option<String>) -> Vec<PortSlot> {
        for slow in self.0.values_mut() {
            slow.silent += 1;
        }
        for (slot, cost_ns) in costs {
            let Some(name) = name(*slot) else { continue };
            let helped = self
                .0
                .get(slot)
                .is_some_and(|slow| slow.done.is_some() && slow.name == name);
            if *cost_ns <= SLOW_NS && !helped {
                self.0.remove(slot);
                continue;
            }
            let slow = self.0.entry(*slot).or_insert_with(|| Slow {
                name: name.clone(),
                cost_ns: 0,
                seconds: 0,
                silent: 0,
                done: None,
            });
            if slow.name != name {
                (slow.seconds, slow.done, slow.name) = (0, None, name);
            }
            slow.silent = 0;
            if slow.done.is_none() {
                (slow.cost_ns, slow.seconds) = (*cost_ns, slow.seconds + 1);
            }
        }
        self.0
            .retain(|slot, slow| name(*slot).as_ref() == Some(&slow.name) && slow.silent < FORGET);
        let ripe = self
            .0
            .iter()
            .filter(|(_, slow)| slow.done.is_none() && slow.seconds >= SECONDS);
        ripe.map(|(slot, _)| *slot).collect()
    }

    /// What people are told.
    pub(super) fn warnings(&self) -> impl Iterator<Item = Warning> {
        self.0.values().filter_map(|slow| {
            let then = match slow.done.as_ref()? {
                Ok(done) => done,
                Err(why) => why,
            };
            Some(Warning {
                severity: "warning".to_owned(),
                object: format!("Pod {}", slow.name),
                text: format!(
                    "receiving a packet takes it {} us of a worker's time (usual: 1 to 3): fewer firewall rules in the pod help. {then}",
                    slow.cost_ns / 1000
                ),
            })
        })
    }
}

impl Control {
    /// Looks at the last second, and gives receivers that are slow to other CPUs.
    pub(super) async fn look_for_slow_pods(&mut self) {
        let costs = self.dataplane.receiver_costs();
        let pods: BTreeMap<PortSlot, (String, std::path::PathBuf, String)> = self
            .attachments
            .iter()
            .map(|(attachment, pod)| {
                (
                    pod.slot,
                    (
                        attachment.pod.clone(),
                        attachment.netns.clone(),
                        attachment.interface.clone(),
                    ),
                )
            })
            .collect();
        let ripe = self
            .slow
            .sample(&costs, |slot| pods.get(&slot).map(|(name, ..)| name.clone()));
        for slot in ripe {
            let Some((name, netns, interface)) = pods.get(&slot).cloned() else {
                continue;
            };
            let cpus = self.dataplane.free_cpus();
            let done = if cpus.is_empty() {
                Err(
                    "Every CPU has a worker; leave one free (workers.cpus) and its packets are received there"
                        .to_owned(),
                )
            } else {
                let list: Vec<_> = cpus.iter().map(usize::to_string).collect();
                let list = list.join(", ");
                let spread = tokio::task::spawn_blocking(move || rps::spread(&netns, &interface, &cpus)).await;
                spread
                    .unwrap_or_else(|_| Err("the work panicked".to_owned()))
                    .map(|()| format!("Its packets are received on CPU {list} from now on"))
                    .map_err(|why| format!("Its packets could not be moved to another CPU: {why}"))
            };
            tracing::warn!(pod = name, ?done, "receives slowly");
            if let Some(slow) = self.slow.0.get_mut(&slot) {
                slow.done = Some(done);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_who_is_slow_for_some_seconds_and_says_so_until_it_goes() {
        let (web, db) = (PortSlot(2), PortSlot(3));
        let name = |slot: PortSlot| Some(if slot == web { "default/web" } else { "default/db" }.to_owned());
        let mut slow = SlowPods::default();
        let both = [(web, 25_000), (db, 2_000)];
        assert!(slow.sample(&both, name).is_empty() && slow.sample(&both, name).is_empty());
        // One good second, and it begins anew.
        assert!(slow.sample(&[(web, 2_000)], name).is_empty());
        for _ in 1..SECONDS {
            assert!(slow.sample(&both, name).is_empty());
        }
        assert_eq!(slow.sample(&both, name), [web]);
        assert_eq!(slow.warnings().count(), 0, "nothing was done yet");
        slow.0.get_mut(&web).unwrap().done = Some(Ok("Done".to_owned()));
        // It is quick now, because it was helped.
        assert!(slow.sample(&[(web, 2_000)], name).is_empty());
        let text = slow
            .warnings()
            .map(|warning| (warning.object, warning.text))
            .collect::<Vec<_>>();
        assert_eq!(text.len(), 1);
        assert!(text[0].0 == "Pod default/web" && text[0].1.contains("25 us") && text[0].1.ends_with("Done"));
        // Another pod in its place inherits nothing.
        slow.sample(&[(web, 2_000)], |_| Some("default/new".to_owned()));
        assert_eq!(slow.warnings().count(), 0);
        slow.sample(&both, name);
        slow.sample(&[], |_| None);
        assert!(slow.0.is_empty());
    }
}
