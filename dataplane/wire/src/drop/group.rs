//! What a person would do about a drop: few groups, in the order in which they deserve a look.

/// Kind of remedy that a reason has. Labels are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DropGroup {
    /// Something is full.
    Capacity,
    /// Configuration, cluster state and network do not fit together.
    Configuration,
    /// The packet is malformed or claims what is not true.
    Sender,
    /// A NetworkPolicy does not allow it.
    Policy,
    /// Correct, but not handled yet.
    Unsupported,
    /// Belongs to starting, stopping and changing, and ends by itself.
    Passing,
    /// Every network has it.
    Expected,
}

impl DropGroup {
    /// Every group, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Capacity,
        Self::Configuration,
        Self::Sender,
        Self::Policy,
        Self::Unsupported,
        Self::Passing,
        Self::Expected,
    ];

    /// Short name for metrics, JSON and options.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::Configuration => "configuration",
            Self::Sender => "sender",
            Self::Policy => "policy",
            Self::Unsupported => "unsupported",
            Self::Passing => "passing",
            Self::Expected => "expected",
        }
    }

    /// Heading for a person.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::Configuration => "configuration or cluster",
            Self::Sender => "sender is wrong",
            Self::Policy => "network policy",
            Self::Unsupported => "not supported yet",
            Self::Passing => "passing",
            Self::Expected => "expected",
        }
    }

    /// What to do about any of them, in one line.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Capacity => "something is full: raise the named key, or give the receiver more CPU",
            Self::Configuration => "a service, route, node or interface is not as the traffic expects it",
            Self::Sender => "`sluice drops -v` shows who sends it and the bytes",
            Self::Policy => "as NetworkPolicies ask; `sluice policies` shows which select a pod",
            Self::Unsupported => "correct packets that are not handled yet",
            Self::Passing => "belongs to starting, stopping and changing; worth a look only if it goes on",
            Self::Expected => "nothing to do; every network has it",
        }
    }
}
