//! Decides how what the own Node should say gets there. It never decides what that is.

use super::answer::{self, Failure};
use super::pace::Pace;
use super::shared::{Closed, Shared};
use super::wants::Made;
use crate::source::{Event, Problem};
use jiff::Timestamp;
use kube::core::Request;
use kube::core::params::{Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Who writes, as the API server notes it.
const WRITER: &str = "sluice";
/// What was written is seen within this time, or written again.
const AGAIN: Duration = Duration::from_secs(30);
const ORIGIN: &str = "API server, the own Node";

/// What the own Node should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Name of the Node.
    pub node: String,
    /// Annotations that it should have among others.
    pub annotations: BTreeMap<String, String>,
    /// The condition NetworkUnavailable should be False.
    pub available: bool,
}

impl Announcement {
    /// Annotations and conditions both lie within reach of nodes/status.
    pub(super) fn patch(&self) -> Made {
        let mut patch = json!({"metadata": {"annotations": self.annotations}});
        if self.available {
            let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            patch["status"] = json!({"conditions": [{
                "type": "NetworkUnavailable", "status": "False", "reason": "SluiceIsUp",
                "message": "Sluice serves the pods of this node", "lastHeartbeatTime": now, "lastTransitionTime": now,
            }]});
        }
        let params = PatchParams {
            field_manager: Some(WRITER.into()),
            ..PatchParams::default()
        };
        Request::new("/api/v1/nodes").patch_subresource("status", &self.node, &params, &Patch::Strategic(patch))
    }
}

/// Writes what should be said whenever it is not, until nobody listens.
pub(super) async fn announce(shared: Arc<Shared>) {
    let mut wanted = shared.announcement.subscribe();
    let mut pace = Pace::default();
    let mut told = false;
    loop {
        let announcement = wanted.borrow_and_update().clone();
        let wait = match announcement {
            None => Duration::MAX,
            Some(announcement) => match write(&shared, &announcement, &mut told).await {
                Ok(Some(after)) => pace.failed(after),
                Ok(None) => {
                    pace.reset();
                    AGAIN
                }
                Err(Closed) => return,
            },
        };
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = sleep(wait) => {}
        }
    }
}

/// What the server asks for before the next try, if this one failed.
async fn write(
    shared: &Shared,
    announcement: &Announcement,
    told: &mut bool,
) -> Result<Option<Option<Duration>>, Closed> {
    let way = shared.reach.way();
    let asked = announcement
        .patch()
        .map_err(|err| Failure::NotUnderstood(err.to_string()));
    let done = match asked {
        Ok(asked) => answer::done(&way.client, asked).await,
        Err(failure) => Err(failure),
    };
    let (text, after) = match done {
        Ok(()) => {
            if std::mem::take(told) {
                let origin = ORIGIN.to_owned();
                shared.send(Event::Solved { origin }).await?;
            }
            return Ok(None);
        }
        // Whoever follows the server says so.
        Err(Failure::Other {
            unreachable: true,
            after,
            ..
        }) => return Ok(Some(after)),
        Err(Failure::Forbidden(text)) => (
            format!(
                "{text}. Grant it with a ClusterRole's rule {{apiGroups: [\"\"], resources: [nodes/status], verbs: [patch]}}"
            ),
            None,
        ),
        Err(Failure::Other { text, after, .. }) => (text, after),
        Err(Failure::NotUnderstood(text) | Failure::Garbage(text) | Failure::Exists(text) | Failure::Broken(text)) => {
            (text, None)
        }
        Err(Failure::NotServed | Failure::Gone | Failure::Silent) => ("it is gone".to_owned(), None),
    };
    *told = true;
    let problem = Problem {
        origin: ORIGIN.to_owned(),
        place: None,
        object: None,
        field: None,
        text: format!("its annotations and conditions cannot be written: {text}"),
    };
    shared
        .send(Event::Solved {
            origin: ORIGIN.to_owned(),
        })
        .await?;
    shared.send(Event::Problem(problem)).await?;
    Ok(Some(after))
}
