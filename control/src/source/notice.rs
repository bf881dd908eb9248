//! What the users of a cluster are told about an object of theirs, where the source has a way to tell them.

/// Something that happened to the own Node or to a pod on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The object.
    pub regarding: Regarding,
    /// A word for machines, in CamelCase.
    pub reason: &'static str,
    /// What was being done, likewise.
    pub action: &'static str,
    /// Whether something is wrong.
    pub warning: bool,
    /// What happened, what follows from it and what to do.
    pub note: String,
}

/// What a notice is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Regarding {
    /// The own Node.
    Node,
    /// A pod on it.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its uid, where its object is known.
        uid: Option<String>,
    },
}
