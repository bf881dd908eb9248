//! Decides how a mistake in an object is named: the field, what is wrong, and how much of the object it spoils. It never decides what is served instead.

use std::fmt;

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a field.
    Key(String),
    /// Into an element of a list.
    Index(usize),
}

/// Way from an object's root to a field, written `spec.ports[0].port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath(Vec<Step>);

impl FieldPath {
    /// The path to a field reached by these keys.
    pub fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|k| Step::Key((*k).to_owned())).collect())
    }

    /// One field further.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// One list element further.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    /// This path inside of `outer`.
    #[must_use]
    pub fn inside(mut self, outer: &Self) -> Self {
        let mut steps = outer.0.clone();
        steps.append(&mut self.0);
        Self(steps)
    }

    /// The steps, outermost first.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl From<&serde_path_to_error::Path> for FieldPath {
    fn from(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment;
        let step = |segment: &Segment| match segment {
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        Self(path.iter().filter_map(step).collect())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if key.contains(['.', '[', '/']) => write!(f, "[{key}]")?,
                Step::Key(key) if i == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub path: FieldPath,
    /// What is wrong and what would be right.
    pub text: String,
    /// What happens without the faulty part when it alone can be left out; `None`: the whole object is unusable.
    pub left_out: Option<&'static str>,
}

impl Fault {
    /// A mistake that makes the whole object unusable.
    pub fn whole(path: FieldPath, text: impl Into<String>) -> Self {
        Self {
            path,
            text: text.into(),
            left_out: None,
        }
    }
}

/// Collects mistakes, so that a person sees all of an object's at once.
#[derive(Debug, Default)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl Faults {
    pub(crate) fn whole(&mut self, path: FieldPath, text: impl Into<String>) {
        self.0.push(Fault::whole(path, text));
    }

    /// The value, or a note of what is wrong with it.
    pub(crate) fn take<T>(&mut self, path: FieldPath, value: Result<T, String>) -> Option<T> {
        value.map_err(|text| self.whole(path, text)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_in_kubernetes() {
        let ports = FieldPath::of(&["spec", "ports"]);
        assert_eq!(ports.index(2).key("endPort").to_string(), "spec.ports[2].endPort");
        let annotation = FieldPath::of(&["metadata", "annotations"]).key("sluice.io/weights");
        assert_eq!(annotation.to_string(), "metadata.annotations[sluice.io/weights]");
        assert_eq!(
            ports.inside(&FieldPath::of(&["items"]).index(3)).to_string(),
            "items[3].spec.ports"
        );
    }
}
