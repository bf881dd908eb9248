//! Pods whose receive stack costs a worker much more time than others': a warning for people.

use super::control::Control;
use crate::api::Warning;
use crate::compile::Reason;
use sluice_wire::PortSlot;
use std::collections::BTreeMap;

/// What a packet may cost its receiver on a worker's time, ns. Usual is 1,500; firewall rules by the thousand cost 25,000.
pub const SLOW_NS: u32 = 12_000;
/// On a busy machine all are slow: it must be so many times what the quickest one costs,
const TIMES: u32 = 4;
/// or this, where there is no other.
const ALONE_NS: u32 = 25_000;
/// Seconds in turn after which a pod counts as slow: a busy moment does not make it so.
const SECONDS: u32 = 3;
/// Seconds without traffic after which it is forgotten.
const FORGET: u32 = 60;

/// One pod that was slow when packets last came for it.
struct Slow {
    name: String,
    cost_ns: u32,
    seconds: u32,
    silent: u32,
}

/// The slow ones by port.
#[derive(Default)]
pub(super) struct SlowPods(BTreeMap<PortSlot, Slow>);

impl SlowPods {
    /// Takes in what packets cost each port's receiver during the last second.
    fn sample(&mut self, costs: &[(PortSlot, u32)], name: impl Fn(PortSlot) -> Option<String>) {
        for slow in self.0.values_mut() {
            slow.silent += 1;
        }
        for (slot, cost_ns) in costs {
            let Some(name) = name(*slot) else { continue };
            let others = costs.iter().filter(|(other, _)| other != slot).map(|(_, cost)| *cost);
            let least = others.min().map_or(ALONE_NS, |quickest| quickest.saturating_mul(TIMES));
            if *cost_ns <= SLOW_NS.max(least) {
                self.0.remove(slot);
                continue;
            }
            let fresh = || Slow {
                name: name.clone(),
                cost_ns: 0,
                seconds: 0,
                silent: 0,
            };
            let slow = self.0.entry(*slot).or_insert_with(fresh);
            if slow.name != name {
                *slow = fresh();
            }
            (slow.silent, slow.cost_ns, slow.seconds) = (0, *cost_ns, slow.seconds + 1);
        }
        self.0
            .retain(|slot, slow| name(*slot).as_ref() == Some(&slow.name) && slow.silent < FORGET);
    }

    /// What people are told.
    pub(super) fn warnings(&self) -> impl Iterator<Item = Warning> {
        let slow = self.0.values().filter(|slow| slow.seconds >= SECONDS);
        slow.map(|slow| Warning {
            severity: "warning".to_owned(),
            object: format!("Pod {}", slow.name),
            text: format!(
                "receiving a packet takes it {} us of a worker's time (usual: 1 to 3), and packets beyond its share are dropped \
                 (slow_receiver): fewer firewall rules in the pod help",
                slow.cost_ns / 1000
            ),
            reason: Some(Reason::SlowReceiver.name().to_owned()),
        })
    }
}

impl Control {
    /// Looks at the last second.
    pub(super) fn look_for_slow_pods(&mut self) {
        let costs = self.dataplane.receiver_costs();
        let pods: BTreeMap<PortSlot, &str> = self
            .attachments
            .iter()
            .map(|(attachment, pod)| (pod.slot, attachment.pod.as_str()))
            .collect();
        self.slow
            .sample(&costs, |slot| pods.get(&slot).map(|name| (*name).to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_who_is_slower_than_others_for_some_seconds() {
        let (web, db) = (PortSlot(2), PortSlot(3));
        let name = |slot: PortSlot| Some(if slot == web { "default/web" } else { "default/db" }.to_owned());
        let mut slow = SlowPods::default();
        let told = |slow: &SlowPods| slow.warnings().map(|w| (w.object, w.text)).collect::<Vec<_>>();
        let both = [(web, 25_000), (db, 2_000)];
        slow.sample(&both, name);
        slow.sample(&both, name);
        // One good second, and it begins anew.
        slow.sample(&[(web, 2_000), (db, 2_000)], name);
        for _ in 1..SECONDS {
            slow.sample(&both, name);
        }
        assert!(told(&slow).is_empty());
        slow.sample(&both, name);
        let [(object, text)] = &told(&slow)[..] else {
            panic!("{:?}", told(&slow))
        };
        assert!(object == "Pod default/web" && text.contains("25 us"), "{text}");
        // Silence leaves it, being quick takes it away, and so does another pod in its place.
        slow.sample(&[], name);
        assert_eq!(told(&slow).len(), 1);
        slow.sample(&[(web, 2_000)], name);
        assert!(told(&slow).is_empty());
        for _ in 0..SECONDS {
            slow.sample(&both, name);
        }
        slow.sample(&[], |_| Some("default/new".to_owned()));
        assert!(told(&slow).is_empty());
    }

    #[test]
    fn on_a_busy_machine_nobody_is_slow_for_that() {
        let mut slow = SlowPods::default();
        let name = |slot: PortSlot| Some(format!("default/pod-{}", slot.0));
        for _ in 0..2 * SECONDS {
            slow.sample(
                &[(PortSlot(2), 30_000), (PortSlot(3), 20_000), (PortSlot(4), 24_000)],
                name,
            );
        }
        assert_eq!(slow.warnings().count(), 0);
    }
}
