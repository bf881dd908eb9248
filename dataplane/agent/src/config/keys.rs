//! Decides which keys a configuration may have, and which one was meant by a key that does not exist. It never looks at values.

use super::error::Fault;
use super::tree::{Tree, line_of, short};
use serde_saphyr::Spanned;

/// Every key with its full path, in the order of the example.
pub(super) const KEYS: [&str; 30] = [
    "node",
    "source",
    "manifests",
    "kubernetes.kubeconfig",
    "kubernetes.servers",
    "socket",
    "bpffs",
    "uplink.interface",
    "uplink.queues",
    "vxlan.vni",
    "vxlan.port",
    "vxlan.mtu",
    "workers.count",
    "workers.cpus",
    "workers.polling",
    "workers.priority",
    "services.scheduler",
    "services.cidrs",
    "services.nodeports",
    "snat.ports",
    "memory.frames",
    "memory.connections",
    "memory.flows",
    "limits.connections_percent",
    "limits.new_flows",
    "limits.new_flows_burst",
    "health.address",
    "health.healthz",
    "log.level",
    "log.format",
];

/// Where all keys can be looked up.
pub(super) const HINT: &str = "(sluice config example prints all keys)";

/// Refuses keys that do not exist and sections that are no maps.
pub(super) fn check(tree: &Tree) -> Result<(), Fault> {
    let fields = match tree {
        Tree::Null => return Ok(()),
        Tree::Map(fields) => fields,
        other => {
            return Err(Fault::whole_file(format!(
                "the file is {}; want keys and values  {HINT}",
                other.shown()
            )));
        }
    };
    for (key, value) in fields {
        if KEYS.contains(&key.value.as_str()) {
            continue;
        }
        if keys_of(&key.value).next().is_none() {
            return Err(unknown("", key, value));
        }
        match &value.value {
            Tree::Null => {}
            Tree::Map(inner) => {
                for (name, value) in inner {
                    if !keys_of(&key.value).any(|known| known == name.value) {
                        return Err(unknown(&key.value, name, value));
                    }
                }
            }
            other => {
                let keys = keys_of(&key.value).collect::<Vec<_>>().join(", ");
                let text = format!(
                    "`{}` is {}; want a map with keys of {keys}  {HINT}",
                    key.value,
                    other.shown()
                );
                return Err(Fault::at(line_of(value), text));
            }
        }
    }
    Ok(())
}

/// Names of a section's keys.
fn keys_of(section: &str) -> impl Iterator<Item = &'static str> {
    KEYS.into_iter()
        .filter_map(move |key| key.strip_prefix(section)?.strip_prefix('.'))
}

fn unknown(section: &str, key: &Spanned<String>, value: &Spanned<Tree>) -> Fault {
    let mut path = if section.is_empty() {
        key.value.clone()
    } else {
        format!("{section}.{}", key.value)
    };
    let mut line = line_of(key);
    // In a section that does not exist, the key says best what was meant.
    if let Tree::Map(fields) = &value.value
        && let Some((first, _)) = fields.first()
    {
        path = format!("{path}.{}", first.value);
        line = line_of(first);
    }
    let meant = nearest(&path).map_or_else(String::new, |key| format!("; did you mean `{key}`?"));
    Fault::at(line, format!("unknown key `{}`{meant}  {HINT}", short(&path)))
}

/// The key that `path` most likely stands for.
fn nearest(path: &str) -> Option<&'static str> {
    let name = last(path);
    // The cost of a distance counts a long text's only as far as a limit that no key comes near.
    if path.len() > 80 {
        return None;
    }
    let cost = |key: &str| {
        let whole = strsim::osa_distance(path, key);
        let moved = strsim::osa_distance(name, last(key));
        let whole_fits = whole <= key.len() / 3;
        let moved_fits = moved <= last(key).len() / 4;
        match (whole_fits, moved_fits) {
            (true, true) => Some(whole.min(moved + 1)),
            (true, false) => Some(whole),
            (false, true) => Some(moved + 1),
            (false, false) => None,
        }
    };
    KEYS.into_iter()
        .filter_map(|key| cost(key).map(|cost| (cost, key)))
        .min()
        .map(|(_, key)| key)
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}
