//! Decides whether the API server is asked at an address that this agent itself serves: an agent that starts on a node where nothing else serves it
//! would wait for itself for ever. It never changes what is asked.

use super::control::Control;
use crate::api::Warning;
use crate::compile::Reason;
use crate::model::ServiceRecord;
use crate::source::Servers;
use http::Uri;
use sluice_snapshot::Prefix;
use sluice_wire::Addr;
use std::net::IpAddr;
use std::sync::Arc;

/// What was found, and what it was found in.
#[derive(Default)]
pub(super) struct OwnServer {
    told: Option<String>,
    looked: Option<((u64, u64), Servers)>,
}

impl OwnServer {
    /// What people are told.
    pub(super) fn warning(&self) -> Option<Warning> {
        self.told.as_ref().map(|text| Warning {
            severity: "warning".to_owned(),
            object: "API server".to_owned(),
            text: text.clone(),
            reason: Some(Reason::ApiServerIsOwnService.name().to_owned()),
        })
    }
}

impl Control {
    /// Looks again if anything is different.
    pub(super) fn look_at_servers(&mut self) {
        let revisions = self.store.revisions();
        let now = ((revisions.services, revisions.service_cidrs), self.source().servers());
        if self.own_server.looked.as_ref() == Some(&now) {
            return;
        }
        let services = self.store.services().map(|(_, record)| record);
        let mut ranges = self.settings.compile.service_cidrs.clone();
        ranges.extend(self.store.service_cidrs().flat_map(|record| &record.ranges));
        let found = served_here(&now.1, &ranges, services);
        self.own_server.looked = Some(now);
        if self.own_server.told != found {
            if let Some(text) = &found {
                tracing::warn!("API server: {text}");
            }
            self.own_server.told = found;
        }
    }
}

/// What to tell if one of the chosen addresses is a Service's. A host that is a name is somebody else's to look up.
fn served_here<'s>(
    servers: &Servers,
    ranges: &[Prefix],
    services: impl Iterator<Item = &'s Arc<ServiceRecord>>,
) -> Option<String> {
    let chosen: Vec<(&String, Addr)> = servers
        .configured
        .iter()
        .filter_map(|url| Some((url, address(url)?)))
        .collect();
    let by_service = services
        .filter_map(|record| {
            let found = chosen.iter().find(|(_, addr)| record.cluster_ips.contains(addr))?;
            Some((
                found.0,
                format!("the address of Service {}/{}", record.namespace, record.name),
            ))
        })
        .next();
    let by_range = || {
        chosen.iter().find_map(|(url, addr)| {
            let range = ranges.iter().find(|range| range.contains(*addr))?;
            Some((*url, format!("an address of the service range {range}")))
        })
    };
    let (url, what) = by_service.or_else(by_range)?;
    let own = match servers.learned.first() {
        Some(learned) => format!("its own address, such as {}", learned.trim_end_matches('/')),
        None => "the address of a control plane node, such as https://10.0.0.1:6443".to_owned(),
    };
    Some(format!(
        "{} is {what}, which this agent serves: where nothing else does, a node that starts anew waits for itself and never gets \
         ready; set kubernetes.servers to {own}",
        url.trim_end_matches('/')
    ))
}

/// The address in a URL.
fn address(url: &str) -> Option<Addr> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    Some(Addr::from(host.parse::<IpAddr>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(configured: &[&str], learned: &[&str]) -> Servers {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Servers {
            configured: texts(configured),
            learned: texts(learned),
        }
    }

    fn told(servers: &Servers, services: &[&str]) -> Option<String> {
        let ranges = ["10.96.0.0/12".parse().unwrap(), "fd00:96::/112".parse().unwrap()];
        let record = |text: &&str| {
            Arc::new(ServiceRecord {
                namespace: "default".into(),
                name: "kubernetes".into(),
                cluster_ips: vec![Addr::from(text.parse::<IpAddr>().unwrap())],
                ..ServiceRecord::default()
            })
        };
        let services: Vec<_> = services.iter().map(record).collect();
        served_here(servers, &ranges, services.iter())
    }

    #[test]
    fn an_address_that_this_agent_serves_is_told_with_the_key_to_set() {
        for good in [
            "https://192.0.2.1:6443/",
            "https://api.example:6443/",
            "https://[fd00:97::1]/",
            "http://localhost",
        ] {
            assert_eq!(
                told(&servers(&[good], &["https://192.0.2.1:6443/"]), &["10.96.0.1"]),
                None,
                "{good}"
            );
        }
        let text = told(&servers(&["https://10.96.0.1/"], &[]), &[]).unwrap();
        assert!(
            text.starts_with("https://10.96.0.1 is an address of the service range 10.96.0.0/12")
                && text.contains("set kubernetes.servers"),
            "{text}"
        );
        let text = told(
            &servers(&["https://192.0.2.1:6443/", "https://[fd00:96::1]:443/"], &[]),
            &[],
        )
        .unwrap();
        assert!(text.starts_with("https://[fd00:96::1]:443 is"), "{text}");
        // Outside of the ranges that are configured, but known; and what the server tells of itself is the better advice.
        let both = servers(&["https://172.20.0.1/"], &["https://192.0.2.1:6443/"]);
        assert_eq!(told(&both, &["10.96.0.1"]), None);
        let text = told(&both, &["172.20.0.1"]).unwrap();
        assert!(
            text.contains("the address of Service default/kubernetes")
                && text.ends_with("such as https://192.0.2.1:6443"),
            "{text}"
        );
    }
}
