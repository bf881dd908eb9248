//! What may be asked over the socket.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::path::PathBuf;

/// One request, as a line of JSON: `{"verb": "flows", "limit": 20}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Request {
    /// How the node is; answered by [`super::Status`].
    Status,
    /// Services and what stands behind them; answered by a list of [`super::ServiceRow`].
    Services(ServicesRequest),
    /// Endpoints of all services, one row each; answered by a list of [`super::EndpointRow`].
    Endpoints(EndpointsRequest),
    /// Policies of the pods of this node; answered by a list of [`super::PolicyRow`].
    Policies(PoliciesRequest),
    /// Connections; answered by a list of [`super::FlowRow`].
    Flows(FlowQuery),
    /// All counters; answered by [`super::CountersReport`].
    Counters,
    /// Some of the packets that were dropped; answered by [`super::DropsReport`].
    Drops(DropQuery),
    /// All figures as OpenMetrics text; answered by a text.
    Metrics,
    /// What the agent's log writes, and what it is to write from now on; answered by [`super::LogAnswer`].
    Log(LogRequest),
    /// How the agent itself is, for probes; answered by [`super::ProbeAnswer`].
    Probe,
    /// Ends at once and leaves everything in place for the agent that asks; answered by `null`.
    HandOver,
    /// Connects a pod; answered by [`super::AttachAnswer`].
    Attach(AttachRequest),
    /// Disconnects a pod; answered by `null`, also when it was not connected.
    Detach(DetachRequest),
}

/// Which services to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServicesRequest {
    /// `namespace/name`, or a name of any namespace. All when absent.
    pub name: Option<String>,
}

/// Which endpoints to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointsRequest {
    /// `namespace/name` of the service, or its name in any namespace. All when absent.
    pub service: Option<String>,
}

/// Whose policies to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoliciesRequest {
    /// `namespace/name` of the pod, or its name in any namespace. All pods of this node when absent.
    pub pod: Option<String>,
}

/// Which connections to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowQuery {
    /// At most this many; [`FlowQuery::MAX`] when more are asked for.
    pub limit: u32,
    /// Either end, or the service address, is this one.
    pub address: Option<IpAddr>,
    /// Either end, or the service, has this port.
    pub port: Option<u16>,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `sctp` or an IP protocol number.
    pub protocol: Option<String>,
}

impl FlowQuery {
    /// Most connections that one answer holds.
    pub const MAX: u32 = 10_000;
}

impl Default for FlowQuery {
    fn default() -> Self {
        Self {
            limit: 100,
            address: None,
            port: None,
            protocol: None,
        }
    }
}

/// Which dropped packets to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DropQuery {
    /// At most this many; [`DropQuery::MAX`] when more are asked for.
    pub limit: u32,
    /// Name of a reason, or of a group of them.
    pub reason: Option<String>,
    /// `namespace/name` of a pod, or its name in any namespace: packets by its port, or with its address at either end.
    pub pod: Option<String>,
    /// Also those that every network has (group `expected`); they are left out unless `reason` or this asks for them.
    pub all: bool,
}

impl DropQuery {
    /// Most packets that one answer holds.
    pub const MAX: u32 = 10_000;
}

impl Default for DropQuery {
    fn default() -> Self {
        Self {
            limit: 20,
            reason: None,
            pod: None,
            all: false,
        }
    }
}

/// What the agent's log is to write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogRequest {
    /// A level (`debug`), levels of modules (`info,sluice_control=debug`), or `default` for what it was at start. As it is when absent.
    pub filter: Option<String>,
}

/// Connects a pod's network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachRequest {
    /// Path of the namespace, such as `/var/run/netns/cni-1234`. It must stay there as long as the pod lives.
    pub netns: PathBuf,
    /// Name of the interface in the pod.
    #[serde(default = "eth0")]
    pub interface: String,
    /// Addresses, with or without prefix length (which has no effect), at most one per family.
    pub addresses: Vec<String>,
    /// `namespace/name`.
    pub pod: String,
}

/// Disconnects a pod's network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetachRequest {
    /// Path of the namespace, as it was attached; it may be gone already.
    pub netns: PathBuf,
    /// Name of the interface in the pod.
    #[serde(default = "eth0")]
    pub interface: String,
}

fn eth0() -> String {
    "eth0".into()
}

impl Request {
    const VERBS: &'static str =
        "status, services, endpoints, policies, flows, counters, drops, metrics, log, probe, hand_over, attach, detach";

    /// Reads one line. Unknown verbs and fields are errors that name them.
    ///
    /// # Errors
    /// A text for the person at the other end.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let value =
            serde_json::from_slice(line).map_err(|err| format!("the request is no JSON object on one line: {err}"))?;
        let Value::Object(mut fields) = value else {
            return Err(format!(
                "the request must be a JSON object with a `verb` (one of {})",
                Self::VERBS
            ));
        };
        let verb = match fields.remove("verb") {
            Some(Value::String(verb)) => verb,
            Some(other) => {
                return Err(format!(
                    "`verb` must be a string (one of {}), not {}",
                    Self::VERBS,
                    short(&other.to_string())
                ));
            }
            None => return Err(format!("`verb` is missing; it is one of {}", Self::VERBS)),
        };
        match verb.as_str() {
            "status" => nothing(&fields, &verb).map(|()| Self::Status),
            "counters" => nothing(&fields, &verb).map(|()| Self::Counters),
            "metrics" => nothing(&fields, &verb).map(|()| Self::Metrics),
            "probe" => nothing(&fields, &verb).map(|()| Self::Probe),
            "hand_over" => nothing(&fields, &verb).map(|()| Self::HandOver),
            "log" => typed(fields, &verb).map(Self::Log),
            "services" => typed(fields, &verb).map(Self::Services),
            "endpoints" => typed(fields, &verb).map(Self::Endpoints),
            "policies" => typed(fields, &verb).map(Self::Policies),
            "flows" => typed(fields, &verb).map(Self::Flows),
            "drops" => typed(fields, &verb).map(Self::Drops),
            "attach" => typed(fields, &verb).map(Self::Attach),
            "detach" => typed(fields, &verb).map(Self::Detach),
            _ => Err(format!("unknown verb `{}`; it is one of {}", short(&verb), Self::VERBS)),
        }
    }
}

fn typed<T: DeserializeOwned>(fields: Map<String, Value>, verb: &str) -> Result<T, String> {
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|err| {
        let path = err.path().to_string();
        let place = if path == "." {
            String::new()
        } else {
            format!("field `{}`: ", short(&path))
        };
        format!("{verb}: {place}{}", both_ends(&err.inner().to_string()))
    })
}

fn nothing(fields: &Map<String, Value>, verb: &str) -> Result<(), String> {
    match fields.keys().next() {
        None => Ok(()),
        Some(key) => Err(format!("{verb}: unknown field `{}`; this verb takes none", short(key))),
    }
}

/// What was sent, cut to a length that may be sent back.
fn short(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        text.into()
    } else {
        text.chars().take(MOST).chain(['…']).collect()
    }
}

/// The same of an error that quotes what was sent: how it ends says what was wanted.
fn both_ends(text: &str) -> String {
    const MOST: usize = 240;
    let count = text.chars().count();
    if count <= MOST {
        return text.into();
    }
    let (first, last) = (text.chars().take(MOST / 2), text.chars().skip(count - MOST / 2));
    first.chain(['…']).chain(last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_error_about_a_long_value_says_what_was_wanted_and_not_all_of_it() {
        let line = format!(r#"{{"verb": "flows", "port": "{}"}}"#, "\u{7f}".repeat(5000));
        let said = Request::parse(line.as_bytes()).unwrap_err();
        assert!(said.starts_with("flows: field `port`: invalid type: string"), "{said}");
        assert!(said.ends_with("expected u16") && said.len() < 1000, "{said}");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let attach = AttachRequest {
            netns: "/run/netns/a".into(),
            interface: "eth0".into(),
            addresses: vec!["10.244.1.5/24".into(), "fd00::5".into()],
            pod: "default/web-1".into(),
        };
        let all = [
            Request::Status,
            Request::Services(ServicesRequest {
                name: Some("default/web".into()),
            }),
            Request::Endpoints(EndpointsRequest::default()),
            Request::Policies(PoliciesRequest { pod: None }),
            Request::Flows(FlowQuery {
                limit: 3,
                port: Some(80),
                ..FlowQuery::default()
            }),
            Request::Counters,
            Request::Drops(DropQuery {
                reason: Some("policy".into()),
                ..DropQuery::default()
            }),
            Request::Metrics,
            Request::Probe,
            Request::HandOver,
            Request::Log(LogRequest {
                filter: Some("info,sluice_control=debug".into()),
            }),
            Request::Attach(attach),
            Request::Detach(DetachRequest {
                netns: "/run/netns/a".into(),
                interface: "eth0".into(),
            }),
        ];
        for request in all {
            let line = serde_json::to_vec(&request).unwrap();
            assert_eq!(Request::parse(&line), Ok(request), "{}", String::from_utf8_lossy(&line));
        }
    }

    #[test]
    fn errors_name_the_culprit() {
        let error = |line: &str| Request::parse(line.as_bytes()).unwrap_err();
        assert!(error(r#"{"verb": "dance"}"#).contains("unknown verb `dance`"));
        assert!(error(r#"{"limit": 3}"#).contains("`verb` is missing"));
        assert!(error(r#"{"verb": 7}"#).contains("not 7"));
        assert!(error(r#"{"verb": "status", "frob": 1}"#).contains("`frob`"));
        assert!(error(r#"{"verb": "flows", "frob": 1}"#).contains("`frob`"));
        assert!(error(r#"{"verb": "flows", "limit": -1}"#).contains("field `limit`"));
        assert!(error(r#"{"verb": "drops", "limit": -1}"#).contains("field `limit`"));
        assert!(error(r#"{"verb": "attach", "netns": "/a", "pod": "a/b"}"#).contains("`addresses`"));
        assert!(error("[1]").contains("JSON object"));
        assert!(error("{").contains("no JSON object"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::parse(&line);
        }
    }
}
