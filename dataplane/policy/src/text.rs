//! Decides how selectors and rules read for a person. It never decides what they match.

use std::fmt::{self, Display, Formatter};

use sluice_wire::Proto;

use crate::cluster::{Action, ClusterRule, Tier};
use crate::model::{Peer, PortMatch, PortSpec, Rule};
use crate::selector::{Op, Requirement, Selector};

/// A rule with thousands of blocks must not become a line of a megabyte.
const LISTED: usize = 8;

/// As kubectl writes selectors: `app=web,tier in (a,b),!legacy`; the empty one is `(all)`.
impl Display for Selector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("(all)");
        }
        let pairs = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        list(f, pairs.chain(self.expressions.iter().map(Requirement::to_string)), ",")
    }
}

impl Display for Requirement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.op {
            Op::In => write!(f, "{key} in ({values})"),
            Op::NotIn => write!(f, "{key} notin ({values})"),
            Op::Exists => f.write_str(key),
            Op::DoesNotExist => write!(f, "!{key}"),
        }
    }
}

impl Display for Peer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Pods {
                namespaces: None,
                pods: None,
            } => f.write_str("nobody"),
            Peer::Pods {
                namespaces: None,
                pods: Some(pods),
            } => write!(f, "podSelector {pods}"),
            Peer::Pods {
                namespaces: Some(namespaces),
                pods: None,
            } => write!(f, "namespaceSelector {namespaces}"),
            Peer::Pods {
                namespaces: Some(namespaces),
                pods: Some(pods),
            } => {
                write!(f, "namespaceSelector {namespaces} and podSelector {pods}")
            }
            Peer::Block { cidr, except } => {
                write!(f, "ipBlock {cidr}")?;
                if !except.is_empty() {
                    f.write_str(" except ")?;
                    list(f, except.iter(), ",")?;
                }
                Ok(())
            }
        }
    }
}

impl Display for PortMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.port {
            PortSpec::Any => f.write_str("any")?,
            PortSpec::Number(first, None) => write!(f, "{first}")?,
            PortSpec::Number(first, Some(last)) => write!(f, "{first}-{last}")?,
            PortSpec::Name(name) => f.write_str(name)?,
        }
        match self.proto {
            Proto::TCP => f.write_str("/tcp"),
            Proto::UDP => f.write_str("/udp"),
            Proto::SCTP => f.write_str("/sctp"),
            Proto(other) => write!(f, "/protocol {other}"),
        }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.peers.is_empty() {
            f.write_str("anyone")?;
        }
        list(f, self.peers.iter(), " or ")?;
        f.write_str(if self.ports.is_empty() { ", any port" } else { ", port " })?;
        list(f, self.ports.iter(), " or ")
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Accept => "Accept",
            Action::Deny => "Deny",
            Action::Pass => "Pass",
        })
    }
}

impl Display for Tier {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tier::Admin => "Admin",
            Tier::Baseline => "Baseline",
        })
    }
}

/// A name may hold anything that can be typed.
impl Display for ClusterRule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.action)?;
        if !self.name.is_empty() {
            write!(f, "{:?}: ", self.name)?;
        }
        self.fits.fmt(f)
    }
}

fn list<T: Display>(f: &mut Formatter<'_>, items: impl Iterator<Item = T>, between: &str) -> fmt::Result {
    let mut items = items.enumerate();
    for (at, item) in items.by_ref().take(LISTED) {
        write!(f, "{}{item}", if at == 0 { "" } else { between })?;
    }
    match items.count() {
        0 => Ok(()),
        more => write!(f, "{between}{more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cidr::Cidr;
    use sluice_wire::Addr;

    fn selector(key: &str, value: &str) -> Selector {
        Selector {
            match_labels: [(key.into(), value.into())].into(),
            expressions: Vec::new(),
        }
    }

    #[test]
    fn rules_read_like_their_yaml() {
        let expression = |op, values: &[&str]| {
            let values = values.iter().map(|v| v.to_string()).collect();
            Requirement {
                key: "tier".into(),
                op,
                values,
            }
        };
        let mut fancy = selector("app", "client");
        fancy.expressions = vec![expression(Op::NotIn, &["a", "b"]), expression(Op::DoesNotExist, &[])];
        let block = Peer::Block {
            cidr: Cidr::new(Addr::v4([10, 0, 0, 0]), 8).unwrap(),
            except: vec![Cidr::new(Addr::v4([10, 1, 0, 0]), 16).unwrap()],
        };
        let rule = Rule {
            peers: vec![
                Peer::Pods {
                    namespaces: Some(Selector::default()),
                    pods: Some(fancy),
                },
                block,
            ],
            ports: vec![
                PortMatch {
                    proto: Proto::TCP,
                    port: PortSpec::Number(80, Some(90)),
                },
                PortMatch {
                    proto: Proto::UDP,
                    port: PortSpec::Name("dns".into()),
                },
                PortMatch {
                    proto: Proto::SCTP,
                    port: PortSpec::Any,
                },
            ],
        };
        assert_eq!(
            rule.to_string(),
            "namespaceSelector (all) and podSelector app=client,tier notin (a,b),!tier or ipBlock 10.0.0.0/8 except \
             10.1.0.0/16, port 80-90/tcp or dns/udp or any/sctp"
        );
        assert_eq!(Rule::default().to_string(), "anyone, any port");
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let peers = (0..20)
            .map(|n| Peer::Pods {
                namespaces: None,
                pods: Some(selector("n", &n.to_string())),
            })
            .collect();
        let text = Rule {
            peers,
            ports: Vec::new(),
        }
        .to_string();
        assert!(text.ends_with("podSelector n=7 or 12 more, any port"), "{text}");
    }
}
