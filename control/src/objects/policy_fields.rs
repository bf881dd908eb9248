//! Decides which fields a NetworkPolicy has. It never looks at values: a field that does not exist is a mistake whatever it holds, as a
//! rule with `form` instead of `from` would let everybody in.

use super::fault::FieldPath;
use super::parts::shown;
use serde_json::Value;

/// A map's fields, and what the maps in them have; `None` for what is no map of known fields. Lists stand for their elements.
pub(super) struct Shape(pub(super) &'static [(&'static str, Option<&'static Shape>)]);

const ROOT: Shape = Shape(&[
    ("apiVersion", None),
    ("kind", None),
    ("metadata", None),
    ("spec", Some(&SPEC)),
    ("status", None),
]);
const SPEC: Shape = Shape(&[
    ("podSelector", Some(&SELECTOR)),
    ("policyTypes", None),
    ("ingress", Some(&INGRESS)),
    ("egress", Some(&EGRESS)),
]);
const INGRESS: Shape = Shape(&[("from", Some(&PEER)), ("ports", Some(&PORT))]);
const EGRESS: Shape = Shape(&[("to", Some(&PEER)), ("ports", Some(&PORT))]);
const PEER: Shape = Shape(&[
    ("podSelector", Some(&SELECTOR)),
    ("namespaceSelector", Some(&SELECTOR)),
    ("ipBlock", Some(&BLOCK)),
]);
const BLOCK: Shape = Shape(&[("cidr", None), ("except", None)]);
const PORT: Shape = Shape(&[("protocol", None), ("port", None), ("endPort", None)]);
pub(super) const SELECTOR: Shape = Shape(&[("matchLabels", None), ("matchExpressions", Some(&EXPRESSION))]);
const EXPRESSION: Shape = Shape(&[("key", None), ("operator", None), ("values", None)]);

/// A field that does not exist.
pub(super) struct Unknown {
    pub(super) path: FieldPath,
    pub(super) text: String,
    /// The rule it is in, by section and place.
    pub(super) rule: Option<(&'static str, usize)>,
}

/// All of them, in the order of the object's fields.
pub(super) fn unknown(policy: &Value) -> Vec<Unknown> {
    unknown_of(policy, &ROOT)
}

/// The same of an object of this shape.
pub(super) fn unknown_of(policy: &Value, root: &Shape) -> Vec<Unknown> {
    let mut out = Vec::new();
    walk(policy, root, &FieldPath::default(), None, &mut out);
    out
}

fn walk(value: &Value, shape: &Shape, at: &FieldPath, rule: Option<(&'static str, usize)>, out: &mut Vec<Unknown>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                let path = at.key(name);
                match shape.0.iter().find(|(known, _)| known == name) {
                    Some((_, None)) => {}
                    Some((section @ ("ingress" | "egress"), Some(shape))) => {
                        for (i, inner) in inner.as_array().into_iter().flatten().enumerate() {
                            walk(inner, shape, &path.index(i), Some((section, i)), out);
                        }
                    }
                    Some((_, Some(shape))) => walk(inner, shape, &path, rule, out),
                    None => out.push(Unknown {
                        path,
                        text: text(name, shape),
                        rule,
                    }),
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                walk(item, shape, &at.index(i), rule, out);
            }
        }
        _ => {}
    }
}

fn text(name: &str, shape: &Shape) -> String {
    let known = || shape.0.iter().map(|(known, _)| *known);
    // A distance costs time with the length; no field's name comes near this.
    let nearest = known()
        .filter(|_| name.len() <= 64)
        .map(|known| (strsim::osa_distance(&name.to_lowercase(), &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min();
    let meant = match nearest {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => format!("want one of {}", known().collect::<Vec<_>>().join(", ")),
    };
    format!("unknown field `{}` ({meant})", shown(name))
}
