//! Decides which warnings become Events of the own Node or of a pod on it, and when: what a user of the cluster can act on, once it has lasted, and
//! again while it lasts. It never decides what is a warning, nor how often anything is written.

use super::control::Control;
use crate::api::Warning;
use crate::compile::Reason;
use crate::source::{Notice, Regarding};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What lasts is said again after this, so that it is still seen, and within what counts as the same.
const AGAIN: Duration = Duration::from_secs(8 * 60);

/// What a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Node,
    Pod,
}

/// All that are told, with what was being done, and for how many seconds it must have lasted: the rest mends itself meanwhile.
const TOLD: [(Reason, &str, About, u64); 8] = [
    (Reason::NoPodCidr, "Serve", About::Node, 30),
    (Reason::UplinkMissing, "Serve", About::Node, 2),
    (Reason::UplinkDown, "Serve", About::Node, 10),
    (Reason::ApiServerIsOwnService, "Follow", About::Node, 0),
    // A warning only after a minute.
    (Reason::AddressConflict, "Forward", About::Pod, 0),
    (Reason::PodIsolated, "Forward", About::Pod, 30),
    (Reason::PodNotAttached, "Attach", About::Pod, 10),
    (Reason::SlowReceiver, "Deliver", About::Pod, 0),
];

/// What was told and may have to be.
#[derive(Debug, Default)]
pub(super) struct Notices {
    lasting: BTreeMap<(&'static str, String), Lasting>,
    ready: bool,
}

#[derive(Debug)]
struct Lasting {
    since: Instant,
    told: Option<Instant>,
    seen: bool,
}

impl Notices {
    /// Those of all warnings that there are now that are to be told now, each with its reason, what was being done and what it is about.
    fn due<'w>(&mut self, warnings: &'w [Warning], now: Instant) -> Vec<(Reason, &'static str, About, &'w Warning)> {
        self.lasting.values_mut().for_each(|lasting| lasting.seen = false);
        let mut due = Vec::new();
        for warning in warnings {
            let row = TOLD
                .iter()
                .find(|(reason, ..)| warning.reason.as_deref() == Some(reason.name()));
            let Some((reason, action, about, seconds)) = row else {
                continue;
            };
            let key = (reason.name(), warning.object.clone());
            let lasting = self.lasting.entry(key).or_insert(Lasting {
                since: now,
                told: None,
                seen: false,
            });
            // Several of one kind about one object are told as one.
            if std::mem::replace(&mut lasting.seen, true) {
                continue;
            }
            let wait = Duration::from_secs(*seconds);
            let ripe = match lasting.told {
                None => now.saturating_duration_since(lasting.since) >= wait,
                Some(told) => now.saturating_duration_since(told) >= AGAIN,
            };
            if ripe {
                lasting.told = Some(now);
                due.push((*reason, *action, *about, warning));
            }
        }
        self.lasting.retain(|_, lasting| lasting.seen);
        due
    }

    /// Whether the node has become ready.
    fn has_become_ready(&mut self, ready: bool) -> bool {
        !std::mem::replace(&mut self.ready, ready) && ready
    }
}

impl Control {
    /// Tells the cluster's users what there is to tell.
    pub(super) fn notify(&mut self, now: Instant) {
        let warnings = self.warnings(now, |reason| reason.is_some());
        let mut notices = Vec::new();
        for (reason, action, about, warning) in self.notices.due(&warnings, now) {
            let regarding = match about {
                About::Node => Some(Regarding::Node),
                About::Pod => self.own_pod(&warning.object, reason),
            };
            notices.extend(regarding.map(|regarding| Notice {
                regarding,
                reason: reason.name(),
                action,
                warning: true,
                note: warning.text.clone(),
            }));
        }
        let ready = self.waiting_for().is_empty();
        if self.notices.has_become_ready(ready) {
            notices.push(Notice {
                regarding: Regarding::Node,
                reason: "NetworkReady",
                action: "Serve",
                warning: false,
                note: format!("Sluice {} serves the pods of this node", env!("CARGO_PKG_VERSION")),
            });
        }
        for notice in notices {
            self.source().notify(notice);
        }
    }

    /// The pod that a warning names, if it is one of this node's.
    fn own_pod(&self, object: &str, reason: Reason) -> Option<Regarding> {
        let full = object.split_once(' ')?.1;
        let (namespace, name) = full.split_once('/')?;
        let name = (namespace.to_owned(), name.to_owned());
        let record = self.store.pod(&name);
        let attached = || self.attachments.iter().any(|(attachment, _)| attachment.pod == full);
        let here = || record.and_then(|pod| pod.node.as_deref()) == Some(&*self.settings.compile.node_name);
        // Attachments of the last run were this node's.
        let own = reason == Reason::PodNotAttached || here() || attached();
        own.then(|| Regarding::Pod {
            namespace: name.0.clone(),
            name: name.1.clone(),
            uid: record.and_then(|pod| pod.uid.as_deref()).map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(object: &str, reason: Option<Reason>) -> Warning {
        Warning {
            severity: "warning".into(),
            object: object.into(),
            text: "what is wrong".into(),
            reason: reason.map(|reason| reason.name().to_owned()),
        }
    }

    #[test]
    fn what_lasts_is_told_once_it_has_and_again_while_it_does() {
        let start = Instant::now();
        let mut notices = Notices::default();
        let mut told = |warnings: &[Warning], seconds: u64| {
            let due = notices.due(warnings, start + Duration::from_secs(seconds));
            due.iter()
                .map(|(reason, _, _, warning)| (*reason, warning.object.clone()))
                .collect::<Vec<_>>()
        };
        let node = warning("node a", Some(Reason::NoPodCidr));
        let slow = warning("Pod default/web", Some(Reason::SlowReceiver));
        let other = warning("Pod default/web", None);
        let unknown = Warning {
            reason: Some("OfALaterVersion".into()),
            ..other.clone()
        };
        let all = [node.clone(), slow.clone(), slow, other, unknown];
        assert_eq!(told(&all, 0), [(Reason::SlowReceiver, "Pod default/web".into())]);
        assert!(told(&all, 29).is_empty());
        assert_eq!(told(&all, 30), [(Reason::NoPodCidr, "node a".into())]);
        assert!(told(&all, 479).is_empty());
        assert_eq!(told(&all, 480).len(), 1, "the one that was told first");
        assert!(told(std::slice::from_ref(&node), 481).is_empty());
        // What ended and began again is told again; who writes decides whether that counts only.
        assert_eq!(told(&all, 482), [(Reason::SlowReceiver, "Pod default/web".into())]);
    }

    #[test]
    fn a_node_is_told_to_be_ready_whenever_it_has_become_so() {
        let mut notices = Notices::default();
        let ready = [false, true, true, false, false, true].map(|ready| notices.has_become_ready(ready));
        assert_eq!(ready, [false, true, false, false, false, true]);
    }
}
