//! Decides what a ServiceCIDR object says: ranges that service addresses come from. It never decides whether this node can take them.

use super::fault::{Faults, FieldPath};
use super::parts::{Meta, block};
use crate::model::ServiceCidrRecord;
use serde::{Deserialize, Serialize};
use sluice_snapshot::Prefix;

/// Neither of its conditions nor its deletion matters: Services have addresses of it as long as it exists.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct ServiceCidr {
    pub(super) metadata: Meta,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Spec {
    cidrs: Vec<String>,
}

pub(super) fn convert(object: ServiceCidr, faults: &mut Faults) -> ServiceCidrRecord {
    let list = FieldPath::of(&["spec", "cidrs"]);
    let count = object.spec.cidrs.len();
    if !(1..=2).contains(&count) {
        faults.whole(
            list,
            format!("there are {count}; want one range, or one of each family"),
        );
        return ServiceCidrRecord::default();
    }
    let ranges = object.spec.cidrs.iter().enumerate();
    let ranges: Vec<Prefix> = ranges
        .filter_map(|(i, text)| faults.take(list.index(i), range(text)))
        .collect();
    if let [one, other] = &ranges[..]
        && one.is_v4() == other.is_v4()
    {
        faults.whole(list, format!("{one} and {other} are of one family; want one of each"));
    }
    ServiceCidrRecord {
        name: object.metadata.name,
        ranges,
    }
}

fn range(text: &str) -> Result<Prefix, String> {
    let (addr, len) = block(text)?;
    let prefix = Prefix::new(addr, len).filter(|_| len > 0 && !addr.is_multicast_or_broadcast());
    prefix
        .ok_or_else(|| format!("{text} is no range of service addresses; want one like 10.96.0.0/16 or fd00:96::/112"))
}

#[cfg(test)]
mod tests {
    use crate::model::{Kind, Object};
    use crate::objects::decode;
    use serde_json::{Value, json};

    fn read(cidrs: &Value) -> (Vec<String>, String) {
        let decoded = decode(
            Kind::ServiceCidr,
            json!({"metadata": {"name": "more"}, "spec": {"cidrs": cidrs}}),
        );
        let told: Vec<String> = decoded
            .faults
            .iter()
            .map(|fault| format!("{}: {}", fault.path, fault.text))
            .collect();
        let ranges = match decoded.object {
            Some(Object::ServiceCidr(record)) => record.ranges.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        (ranges, told.join("\n"))
    }

    #[test]
    fn ranges_of_services_are_one_of_each_family_at_most() {
        assert_eq!(read(&json!(["10.112.0.0/16"])).0, ["10.112.0.0/16"]);
        assert_eq!(read(&json!(["10.112.0.0/16", "fd00:112::/112"])).0.len(), 2);
        for (cidrs, want) in [
            (json!([]), "there are 0"),
            (
                json!(["10.112.0.0/16", "fd00:112::/112", "10.113.0.0/16"]),
                "there are 3",
            ),
            (json!(["10.112.0.0/16", "10.113.0.0/16"]), "are of one family"),
            (json!(["0.0.0.0/0"]), "spec.cidrs[0]: 0.0.0.0/0 is no range"),
            (json!(["224.0.0.0/4"]), "is no range"),
            (json!(["10.112.0.0"]), "is no address block"),
            (json!("10.112.0.0/16"), "spec.cidrs: "),
        ] {
            let (ranges, told) = read(&cidrs);
            assert!(ranges.is_empty() && told.contains(want), "{cidrs}: {told}");
        }
    }
}
