//! Attaching, detaching and taking up pods: what happens in which order.

use super::control::Control;
use crate::api::{AttachAnswer, AttachRequest};
use crate::attach::{self, Attachment, Decision};
use crate::compile::AttachedPod;
use crate::kernel::pod::{self, Found, GATEWAY_V4, GATEWAY_V6, PodPlan};
use sluice_wire::{Addr, PortSlot};
use std::path::Path;
use std::sync::Arc;

impl Control {
    /// Connects a pod. When this returns, the pod's port and policy are published.
    pub(super) async fn attach(&mut self, request: &AttachRequest) -> Result<AttachAnswer, String> {
        let wanted = attach::check(request, &self.own_ranges)?;
        let mtu = self
            .pod_mtu
            .ok_or("the pods' MTU is not known yet; try again when `sluice status` shows the node ready")?;
        // One of the last run that could not be taken up is asked for anew: the request decides.
        self.saved
            .retain(|(old, _)| old.id != wanted.id || old.interface != wanted.interface);
        let found = find(&wanted.netns, &wanted.interface).await?;
        match self.attachments.decide(&wanted) {
            Decision::Refused(text) => return Err(text),
            Decision::Same(at) if matches!(found, Found::Tap(_)) => return self.again(at).await,
            // Somebody removed the interface: begin anew.
            Decision::Same(at) => self.let_go(at, false).await?,
            Decision::New => {}
        }
        if found == Found::Other {
            return Err(format!(
                "{} in {} is there already and was not made by Sluice; remove it, or name another interface",
                wanted.interface,
                wanted.netns.display()
            ));
        }
        let attachment = Attachment::from(wanted);
        let (pod, warnings) = self.open(&attachment, mtu).await?;
        let slot = pod.slot;
        self.attachments.add(attachment.clone(), pod.clone());
        if let Err(text) = self.save() {
            self.attachments.remove(self.attachments.len() - 1);
            let _ = self.blocking(move |dataplane| dataplane.detach_pod(slot, true)).await;
            return Err(text);
        }
        tracing::info!(pod = attachment.pod, slot = slot.0, "attached");
        self.reconcile().await;
        Ok(answer(&attachment, &pod, warnings))
    }

    /// Disconnects a pod and removes its interface; fine when it is not attached.
    pub(super) async fn detach(&mut self, netns: &Path, interface: &str) -> Result<(), String> {
        self.saved
            .retain(|(old, _)| old.netns != netns || old.interface != interface);
        match self.attachments.position(netns, interface) {
            Some(at) => self.let_go(at, true).await,
            None => self.save(),
        }
    }

    /// Disconnects pods whose namespace is gone. Their taps are closed, which is what lets the kernel free the
    /// namespace.
    pub(super) async fn drop_vanished(&mut self) {
        for at in self.attachments.vanished() {
            if let Some((gone, _)) = self.attachments.get(at) {
                tracing::info!(pod = gone.pod, netns = %gone.netns.display(), "the pod's namespace is gone");
            }
            if let Err(text) = self.let_go(at, false).await {
                tracing::warn!("{text}");
            }
        }
        self.saved.retain(|(old, why)| why.is_none() || old.is_there());
    }

    /// Takes up the pods of the last run. One that fails is tried again every second; one whose namespace or interface
    /// is gone is forgotten.
    pub(super) async fn adopt(&mut self) {
        let Some(mtu) = self.pod_mtu else { return };
        for (attachment, _) in std::mem::take(&mut self.saved) {
            let there = attachment.is_there()
                && !matches!(
                    find(&attachment.netns, &attachment.interface).await,
                    Ok(Found::Nothing | Found::Other)
                );
            if !there {
                tracing::info!(pod = attachment.pod, "is gone since the last run");
                continue;
            }
            match self.open(&attachment, mtu).await {
                Ok((pod, warnings)) => {
                    for text in warnings {
                        tracing::warn!(pod = attachment.pod, "{text}");
                    }
                    tracing::info!(pod = attachment.pod, slot = pod.slot.0, "taken up");
                    self.attachments.add(attachment, pod);
                }
                Err(text) => {
                    tracing::warn!(pod = attachment.pod, "cannot be taken up: {text}");
                    self.saved.push((attachment, Some(text)));
                }
            }
        }
        self.adopted = self.saved.is_empty();
        let saved = self.save();
        self.trouble("list of attachments", saved);
    }

    /// The packet side opens the interface, then it is set up inside the pod.
    async fn open(&self, attachment: &Attachment, mtu: u16) -> Result<(AttachedPod, Vec<String>), String> {
        let (netns, interface) = (attachment.netns.clone(), attachment.interface.clone());
        let port = self
            .blocking(move |dataplane| dataplane.attach_pod(&netns, &interface, mtu))
            .await?;
        match configure(attachment, mtu).await {
            Ok(warnings) => {
                let pod = AttachedPod {
                    slot: port.slot,
                    scope: port.scope,
                    mac: port.mac,
                    mtu,
                    addrs: attachment.addrs(),
                    pod: attachment.pod.clone(),
                    caps: port.caps,
                };
                Ok((pod, warnings))
            }
            Err(text) => {
                let _ = self
                    .blocking(move |dataplane| dataplane.detach_pod(port.slot, false))
                    .await;
                Err(text)
            }
        }
    }

    async fn again(&mut self, at: usize) -> Result<AttachAnswer, String> {
        let Some((attachment, pod)) = self.attachments.get(at).cloned() else {
            return Err("the attachment is gone".into());
        };
        let warnings = configure(&attachment, pod.mtu).await?;
        Ok(answer(&attachment, &pod, warnings))
    }

    /// Off the list, out of what is served, then closed.
    async fn let_go(&mut self, at: usize, remove_interface: bool) -> Result<(), String> {
        let (attachment, pod) = self.attachments.remove(at);
        let slot = pod.slot;
        let saved = self.save();
        self.reconcile().await;
        self.unpublish(slot);
        tracing::info!(pod = attachment.pod, slot = slot.0, "detached");
        let closed = self
            .blocking(move |dataplane| dataplane.detach_pod(slot, remove_interface))
            .await;
        saved.and(closed)
    }

    /// Takes a port out of the served snapshot, also when nothing new can be compiled.
    fn unpublish(&mut self, slot: PortSlot) {
        let current = self.publisher.current();
        if current.parts.ports.get(slot).is_none() {
            return;
        }
        let mut parts = current.parts.clone();
        Arc::make_mut(&mut parts.ports).set(slot, None);
        self.publish(parts);
    }

    fn save(&self) -> Result<(), String> {
        let waiting = self.saved.iter().map(|(attachment, _)| attachment);
        let all = self.attachments.iter().map(|(attachment, _)| attachment).chain(waiting);
        attach::save(&self.settings.state_dir, all)
    }
}

fn plan(attachment: &Attachment, mtu: u16) -> PodPlan {
    PodPlan {
        interface: attachment.interface.clone(),
        addrs: attachment.addrs(),
        mtu,
    }
}

async fn configure(attachment: &Attachment, mtu: u16) -> Result<Vec<String>, String> {
    let (netns, plan) = (attachment.netns.clone(), plan(attachment, mtu));
    tokio::task::spawn_blocking(move || pod::configure(&netns, &plan))
        .await
        .unwrap_or_else(|_| Err("setting up the pod's interface panicked; please report this".into()))
}

async fn find(netns: &Path, interface: &str) -> Result<Found, String> {
    let (netns, interface) = (netns.to_owned(), interface.to_owned());
    tokio::task::spawn_blocking(move || pod::find(&netns, &interface))
        .await
        .unwrap_or_else(|_| Err("looking at the pod's interface panicked; please report this".into()))
}

fn answer(attachment: &Attachment, pod: &AttachedPod, warnings: Vec<String>) -> AttachAnswer {
    let gateway = |addr: &Addr| if addr.is_v4() { GATEWAY_V4 } else { GATEWAY_V6 };
    AttachAnswer {
        pod: attachment.pod.clone(),
        interface: attachment.interface.clone(),
        mac: pod.mac.to_string(),
        mtu: pod.mtu,
        addresses: pod.addrs.iter().map(Addr::to_string).collect(),
        gateways: pod.addrs.iter().map(|addr| gateway(addr).to_string()).collect(),
        warnings,
    }
}
