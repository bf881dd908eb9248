//! Decides whether a set of labels is selected (Kubernetes LabelSelector). It never looks at anything but the labels.

use crate::model::Labels;

/// A label selector: every pair and every expression must hold. The empty selector selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// Label keys that must be present with exactly this value.
    pub match_labels: Labels,
    /// Further requirements.
    pub expressions: Vec<Requirement>,
}

/// One entry of `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// The label key it is about.
    pub key: String,
    /// How the label is compared.
    pub op: Op,
    /// The values of `In` and `NotIn`; ignored by the other two.
    pub values: Vec<String>,
}

/// Operator of a [`Requirement`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The label is present and its value is listed.
    In,
    /// The label is absent, or its value is not listed.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl Selector {
    /// Whether `labels` satisfy every part of this selector.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self.expressions.iter().all(|requirement| requirement.holds(labels))
    }

    /// Whether this is the empty selector.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.expressions.is_empty()
    }
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match self.op {
            Op::In => value.is_some_and(|v| self.values.contains(v)),
            Op::NotIn => value.is_none_or(|v| !self.values.contains(v)),
            Op::Exists => value.is_some(),
            Op::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    fn one(op: Op, values: &[&str]) -> Selector {
        let expressions = vec![Requirement {
            key: "tier".into(),
            op,
            values: values.iter().map(|v| v.to_string()).collect(),
        }];
        Selector {
            expressions,
            ..Selector::default()
        }
    }

    #[test]
    fn each_operator_with_the_label_listed_unlisted_and_absent() {
        let cases = [
            labels(&[("tier", "web")]),
            labels(&[("tier", "db")]),
            labels(&[("other", "web")]),
        ];
        let table = [
            (one(Op::In, &["web", "cache"]), [true, false, false]),
            (one(Op::NotIn, &["web", "cache"]), [false, true, true]),
            (one(Op::Exists, &[]), [true, true, false]),
            (one(Op::DoesNotExist, &[]), [false, false, true]),
            (Selector::default(), [true, true, true]),
        ];
        for (selector, expected) in table {
            let seen = [0, 1, 2].map(|i| selector.matches(&cases[i]));
            assert_eq!(seen, expected, "{selector:?}");
        }
    }

    #[test]
    fn pairs_and_expressions_must_all_hold() {
        let mut selector = one(Op::In, &["web"]);
        selector.match_labels = labels(&[("app", "shop")]);
        assert!(selector.matches(&labels(&[("app", "shop"), ("tier", "web"), ("x", "y")])));
        assert!(!selector.matches(&labels(&[("app", "shop"), ("tier", "db")])));
        assert!(!selector.matches(&labels(&[("app", "other"), ("tier", "web")])));
        assert!(!selector.matches(&labels(&[("tier", "web")])));
    }
}
