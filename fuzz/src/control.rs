//! What people and programs write: manifests, requests, the list of attachments.

#[allow(dead_code)]
#[path = "../../control/tests/objects/world.rs"]
mod world;

use sluice_control::api::{AttachRequest, Request};
use sluice_control::attach::{check, load};
use sluice_snapshot::Prefix;
use world::World;

/// Files that come, change and go, in any order, compile to a snapshot or to reports. Zero bytes part the files; the
/// first byte of each says what is done with it.
pub(crate) fn manifests(data: &[u8]) {
    let mut world = World::new();
    world.attach("default/web-1", &["10.244.1.5", "fd00:244:1::5"]);
    for part in data.split(|byte| *byte == 0).take(8) {
        let Some((how, text)) = part.split_first() else {
            continue;
        };
        let file = if how & 1 == 0 { "a.yaml" } else { "b.yaml" };
        if how & 6 == 6 {
            world.remove(file);
        } else {
            world.write(file, &String::from_utf8_lossy(text));
        }
        if let Err(reports) = world.compile() {
            assert!(!reports.is_empty(), "nothing came out and nobody said why");
        }
    }
}

/// A request that is understood means the same when it is written again.
pub(crate) fn request(data: &[u8]) {
    match Request::parse(data) {
        Ok(request) => {
            let again = serde_json::to_vec(&request).expect("a request can be written");
            assert_eq!(Request::parse(&again), Ok(request));
        }
        Err(text) => assert!(!text.is_empty() && text.len() < 1000, "{text}"),
    }
}

/// An attach request is wanted, or refused with a text. Paths lead to this process only.
pub(crate) fn attach(data: &[u8]) {
    let Ok(mut request) = serde_json::from_slice::<AttachRequest>(data) else {
        return;
    };
    if !request.netns.starts_with("/run/netns") {
        // The same magic number as a network namespace, and not the node's own.
        request.netns = "/proc/self/ns/mnt".into();
    }
    let own: Vec<Prefix> = ["10.244.1.0/24", "fd00:244:1::/64"]
        .iter()
        .map(|text| text.parse().expect("a prefix"))
        .collect();
    match check(&request, &own) {
        Ok(wanted) => {
            assert!((1..=2).contains(&wanted.addrs.len()));
            assert!(
                wanted
                    .addrs
                    .iter()
                    .all(|addr| own.iter().any(|prefix| prefix.contains(*addr)))
            );
        }
        Err(text) => assert!(!text.is_empty() && !text.contains('\n'), "{text}"),
    }
}

/// Any bytes as the list of attachments are read or refused.
pub(crate) fn attachments(data: &[u8]) {
    let loaded = crate::with_file("attachments.json", data, |file| {
        load(file.parent().expect("a directory"))
    });
    if let Err(text) = loaded {
        let told = text.contains("is damaged") || text.contains("was written by another release");
        assert!(told, "{text}");
    }
}
