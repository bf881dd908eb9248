//! Decides whether the own Node's annotation asks for another uplink than this agent has. It never exchanges one under packets: the agent gives
//! everything back and begins anew.
//!
//! The uplink is opened before anything is known of a cluster, so the annotation's word is kept beside the other state, and the next start
//! begins with it, also without the API server.

use super::control::Control;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The annotation of a Node.
pub const ANNOTATION: &str = "sluice.io/uplink";

/// What is to be done.
#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    /// Remember this name, which is that of the uplink.
    Keep,
    /// Remember this name and begin anew.
    Take,
    /// Forget what was remembered and begin anew.
    Forget,
}

/// The uplink that the annotation chose when it was last known.
pub fn chosen_uplink(state_dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file(state_dir)).ok()?;
    let name = text.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("uplink")
}

fn step(asked: Option<&str>, kept: Option<&str>, uplink: &str) -> Step {
    match asked {
        Some(asked) if asked != uplink => Step::Take,
        Some(asked) if kept != Some(asked) => Step::Keep,
        None if kept.is_some() => Step::Forget,
        _ => Step::Nothing,
    }
}

impl Control {
    /// Looks at the annotation, and begins anew where it says something else than before.
    pub(super) fn look_at_uplink(&mut self) {
        // Nothing is concluded from a Node that is not there.
        let Some(node) = self.store.node(&self.settings.compile.node_name) else {
            return;
        };
        let asked = node.uplink.clone();
        let dir = self.settings.state_dir.clone();
        let step = step(
            asked.as_deref(),
            chosen_uplink(&dir).as_deref(),
            &self.settings.uplink_interface,
        );
        let done = match (&step, asked.as_deref()) {
            (Step::Take, Some(name)) if nix::net::if_::if_nametoindex(name).is_err() => Err(format!(
                "annotation {ANNOTATION} asks for `{}`, but there is no such interface; {} stays the uplink",
                crate::objects::shown(name),
                self.settings.uplink_interface
            )),
            (Step::Take | Step::Keep, Some(name)) => std::fs::write(file(&dir), name).map_err(|err| err.to_string()),
            (Step::Forget, _) => match std::fs::remove_file(file(&dir)) {
                Err(err) if err.kind() != ErrorKind::NotFound => Err(err.to_string()),
                _ => Ok(()),
            },
            _ => Ok(()),
        };
        if done.is_ok() && matches!(step, Step::Take | Step::Forget) {
            let now = asked.as_deref().unwrap_or("what the configuration says");
            tracing::info!(uplink = now, "annotation {ANNOTATION} changed; the agent begins anew");
            self.begin_anew = true;
        }
        self.trouble("uplink by annotation", done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_begins_anew_only_where_the_annotation_asks_for_something_else() {
        assert_eq!(step(None, None, "eth0"), Step::Nothing);
        assert_eq!(step(Some("eth0"), None, "eth0"), Step::Keep);
        assert_eq!(step(Some("eth0"), Some("eth0"), "eth0"), Step::Nothing);
        assert_eq!(step(Some("eth1"), None, "eth0"), Step::Take);
        assert_eq!(
            step(Some("eth1"), Some("eth1"), "eth0"),
            Step::Take,
            "it was not there at the start"
        );
        assert_eq!(step(Some("eth2"), Some("eth1"), "eth1"), Step::Take);
        assert_eq!(step(None, Some("eth1"), "eth1"), Step::Forget);
    }
}
