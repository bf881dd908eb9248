//! From what is known to what is served: compile, publish, apply.

use super::control::Control;
use crate::compile::{AttachedPod, Compiled, HostPort, Inputs, Report, Severity, Steering, Underlay};
use crate::kernel::host::HostPlan;
use crate::kernel::silence::{FamilyPorts, SilentPorts};
use sluice_snapshot::Parts;
use sluice_wire::Proto;
use std::time::{Instant, SystemTime};

impl Control {
    /// Compiles what is known and applies it: publish, then steer, then the host's routes, then neighbours.
    pub(super) async fn reconcile(&mut self) {
        self.dirty = None;
        let Some(mut underlay) = self.underlay.clone().filter(|_| self.store.synced()) else {
            return;
        };
        if underlay.uplink.ifindex != 0 {
            self.uplink_mtu = Some(underlay.uplink.mtu);
        }
        // Without an uplink pods of this node still talk to each other; their MTU stays what it was.
        let Some(mtu) = self.uplink_mtu else { return };
        underlay.uplink.mtu = mtu.min(self.settings.uplink_limit);
        if !self.adopted {
            // A first compilation, which is not published, says what the pods' MTU is.
            if let Err(reports) = self.compile(&underlay) {
                self.report(reports);
                return;
            }
            self.adopt().await;
        }
        let began = Instant::now();
        let compiled = self.compile(&underlay);
        self.tallies.compiled(began.elapsed());
        let compiled = match compiled {
            Ok(compiled) => compiled,
            Err(reports) => {
                // The last complete state stays in force.
                self.complete = false;
                self.report(reports);
                return;
            }
        };
        self.report(compiled.reports);
        self.own_ranges = compiled.own_ranges;
        self.reports.extend(self.too_large(mtu));
        let plan = self.host_plan(&compiled.parts, compiled.pod_mtu);
        self.publish(compiled.parts);
        self.complete = true;
        let silent = self.silent_ports(&compiled.steering);
        self.steer(compiled.steering).await;
        self.announce();
        self.silence.apply(&silent).await;
        let missing = self.silence.missing();
        self.reports.extend(missing.map(|text| Report {
            severity: Severity::Warning,
            object: "node".to_owned(),
            text: text.to_owned(),
            reason: None,
        }));
        let applied = self.host.apply(&plan).await;
        self.trouble("host interface", applied);
        self.neighbours.uplink_is(&underlay.uplink);
        // Nobody can be asked by a link that is down.
        let wanted = Some(compiled.wanted_neighbours).filter(|_| underlay.uplink.up);
        let kept = self.neighbours.keep(&wanted.unwrap_or_default()).await;
        self.trouble("next hops", kept);
        let own = self.store.node(&self.settings.compile.node_name);
        self.stop
            .vitals
            .done(SystemTime::now(), own.is_some_and(|node| node.leaving));
    }

    fn report(&mut self, reports: Vec<Report>) {
        self.lasting.are(&reports, Instant::now());
        self.reports = reports;
    }

    fn too_large(&self, mtu: u16) -> Option<Report> {
        let limit = self.settings.uplink_limit;
        let text = format!(
            "its MTU is {mtu}, but this kernel's AF_XDP carries packets of at most {limit} bytes (Linux 6.6 and newer carry \
             more): pods' MTU is made to fit, and larger packets of other nodes are lost; lower the MTU of all nodes"
        );
        (mtu > limit).then(|| Report {
            severity: Severity::Warning,
            object: format!("uplink {}", self.settings.uplink_interface),
            text,
            reason: None,
        })
    }

    /// `sluice0` has the pods' MTU, which the compilation gives: where it differs from what was assumed, it is done
    /// once more.
    fn compile(&mut self, underlay: &Underlay) -> Result<Compiled, Vec<Report>> {
        let pods: Vec<AttachedPod> = self.attachments.iter().map(|(_, pod)| pod.clone()).collect();
        for _ in 0..2 {
            let assumed = self.pod_mtu.unwrap_or(self.settings.host_port.mtu);
            let host = HostPort {
                mtu: assumed,
                ..self.settings.host_port.clone()
            };
            let inputs = Inputs {
                settings: &self.settings.compile,
                underlay,
                pods: &pods,
                host: &host,
                uplink: &self.settings.uplink_port,
            };
            let compiled = self.compiler.compile(&self.store, &inputs)?;
            self.pod_mtu = Some(compiled.pod_mtu);
            if compiled.pod_mtu == assumed {
                return Ok(compiled);
            }
        }
        Err(vec![Report {
            severity: Severity::Warning,
            object: "uplink".to_owned(),
            text: "the MTU of pods cannot be decided; please report this".to_owned(),
            reason: None,
        }])
    }

    pub(super) fn publish(&mut self, parts: Parts) {
        let current = self.publisher.current();
        if let Some(next) = current.successor(parts) {
            tracing::debug!(generation = next.generation.0, "published");
            self.draining.follow(&current.parts.services, &next.parts.services);
            self.publisher.publish(next);
            self.tallies.published();
            self.published = Instant::now();
        }
    }

    async fn steer(&mut self, steering: Steering) {
        if self.steered.as_ref() == Some(&steering) {
            return;
        }
        let wanted = steering.clone();
        let done = self.blocking(move |dataplane| dataplane.steer(&wanted)).await;
        if done.is_ok() {
            self.steered = Some(steering);
        }
        self.trouble("uplink", done);
    }

    fn silent_ports(&self, steering: &Steering) -> SilentPorts {
        let owned = self.dataplane.owned_ports();
        let of = |wanted, v4| {
            let node_ports = steering.node_ports.iter();
            let node_ports = node_ports.filter(move |(proto, _, of_v4)| (*proto, *of_v4) == (wanted, v4));
            owned.iter().copied().chain(node_ports.map(|(_, port, _)| *port))
        };
        let tunnel = self.settings.compile.tunnel_port;
        let family = |v4| FamilyPorts::new(of(Proto::TCP, v4), of(Proto::UDP, v4).chain([tunnel]));
        SilentPorts {
            v4: family(true),
            v6: family(false),
        }
    }

    fn host_plan(&self, parts: &Parts, mtu: u16) -> HostPlan {
        let mut ranges = parts.node.cluster_prefixes.to_vec();
        ranges.extend(parts.node.service_prefixes.iter());
        ranges.sort();
        ranges.dedup();
        HostPlan {
            bases: parts.node.base_v4.into_iter().chain(parts.node.base_v6).collect(),
            ranges,
            gateway_mac: parts.node.gateway_mac,
            mtu,
        }
    }

    /// Notes that something could not be done, or now can; told once, and tried again every second.
    pub(super) fn trouble(&mut self, about: &'static str, result: Result<(), String>) {
        let before = self.troubles.iter().position(|(what, _)| *what == about);
        match (result, before) {
            (Ok(()), Some(at)) => {
                tracing::info!("{about}: done after all");
                self.troubles.remove(at);
            }
            (Ok(()), None) => {}
            (Err(text), Some(at)) if self.troubles[at].1 == text => {}
            (Err(text), at) => {
                tracing::warn!("{about}: {text}");
                if let Some(at) = at {
                    self.troubles.remove(at);
                }
                self.troubles.push((about, text));
            }
        }
    }
}
