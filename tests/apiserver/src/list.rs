//! Decides what a get or list answers: of which version, which part of it, and the token of the next page. It never
//! changes anything.

use crate::options::{Match, Options};
use crate::resources::Resource;
use crate::selector::Filter;
use crate::server::Inner;
use crate::status::Status;
use crate::store::{Kept, Store};
use crate::view::{Item, Shape, shown};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::Duration;

/// One page of a list.
pub(crate) struct Page {
    /// The objects.
    pub objects: Vec<Kept>,
    /// Version of all pages.
    pub version: u64,
    /// Token of the next one.
    pub next: Option<String>,
    /// How many are left, where that is known.
    pub remaining: Option<usize>,
}

/// Waits until the cache is as new as `version`, for as long as the real server does.
pub(crate) async fn fresh(inner: &Inner, version: u64) -> Result<(), Status> {
    let mut changed = inner.changed.subscribe();
    let waited = tokio::time::timeout(inner.settings.fresh_within, async {
        while inner.store().seen() < version {
            if changed.changed().await.is_err() {
                return;
            }
        }
    });
    match waited.await {
        Ok(()) => Ok(()),
        Err(_) => Err(Status::too_large(version, inner.store().seen(), 1)),
    }
}

/// The page that the options ask for.
pub(crate) async fn page(
    inner: &Inner,
    resource: &Resource,
    namespace: Option<&str>,
    options: &Options,
    filter: &Filter,
) -> Result<Page, Status> {
    let prefix = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let wanted = options.version.unwrap_or(0);
    let exact =
        options.matching == Some(Match::Exact) || (options.matching.is_none() && options.limit > 0 && wanted > 0);
    if wanted > 0 && !exact {
        fresh(inner, wanted).await?;
    }
    let store = inner.store();
    let (version, from, limit) = if let Some(token) = &options.proceed {
        let (version, from) = read_token(token)?;
        if version.is_some_and(|version| version < store.floor()) {
            return Err(expired_token(&from));
        }
        (version.unwrap_or(store.version()), from, options.limit)
    } else if exact {
        if wanted < store.floor() {
            return Err(Status::expired("The resourceVersion for the provided list is too old."));
        }
        if wanted > store.version() {
            return Err(Status::too_large(wanted, store.version(), 0));
        }
        (wanted, String::new(), options.limit)
    } else if options.version == Some(0) {
        // Answered from the cache, which knows no pages.
        (store.seen(), String::new(), 0)
    } else {
        (
            if wanted > 0 { store.seen() } else { store.version() },
            String::new(),
            options.limit,
        )
    };
    Ok(cut(&store, resource, &prefix, &from, version, limit, filter))
}

fn cut(
    store: &Store,
    resource: &Resource,
    prefix: &str,
    from: &str,
    version: u64,
    limit: usize,
    filter: &Filter,
) -> Page {
    let mut page = Page {
        objects: Vec::new(),
        version,
        next: None,
        remaining: None,
    };
    let (mut last, mut left) = (String::new(), 0);
    store.scan(&resource.storage, version, prefix, from, &mut |key, object| {
        if limit > 0 && page.objects.len() == limit {
            left += 1;
            // Only without a selector is it known what is left.
            return !filter.selects();
        }
        if filter.matches(object) {
            page.objects.push(object.clone());
            last = key.to_owned();
        }
        true
    });
    if left > 0 {
        let start = format!("{last}\0");
        page.next = Some(write_token(Some(version), &start));
        page.remaining = (!filter.selects()).then_some(left);
    }
    page
}

fn write_token(version: Option<u64>, start: &str) -> String {
    let version = version.map_or(-1, |version| i64::try_from(version).unwrap_or(-1));
    let token = json!({"v": "meta.k8s.io/v1", "rv": version, "start": start});
    URL_SAFE_NO_PAD.encode(token.to_string())
}

/// Version, if the list is to be consistent, and where to go on.
fn read_token(token: &str) -> Result<(Option<u64>, String), Status> {
    let bad = || Status::bad_request("continue key is not valid");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    let start = value["start"].as_str().ok_or_else(bad)?.to_owned();
    let version = value["rv"].as_i64().ok_or_else(bad)?;
    Ok((u64::try_from(version).ok(), start))
}

fn expired_token(from: &str) -> Status {
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list \
                   without the continue parameter, or use the continue token in this response to retrieve the remainder of \
                   the results. Continuing with the provided token results in an inconsistent list - objects that were \
                   created, modified, or deleted between the time the first chunk was returned and now may show up in the \
                   list.";
    Status {
        proceed: Some(write_token(None, from)),
        ..Status::expired(message)
    }
}

/// The list as it is sent.
pub(crate) fn write(resource: &Resource, page: &Page, shape: Shape) -> Vec<u8> {
    let mut metadata = json!({"resourceVersion": page.version.to_string()});
    if let Some(token) = &page.next {
        metadata["continue"] = token.clone().into();
    }
    if let Some(remaining) = page.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    let (kind, version) = match shape {
        Shape::Whole => (format!("{}List", resource.kind), resource.api_version()),
        Shape::Metadata => ("PartialObjectMetadataList".into(), "meta.k8s.io/v1".into()),
    };
    let head = format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{metadata},\"items\":[");
    let mut bytes = head.into_bytes();
    for (n, object) in page.objects.iter().enumerate() {
        if n > 0 {
            bytes.push(b',');
        }
        let object = shown(resource, object, shape);
        let whole = resource.custom || shape == Shape::Metadata;
        // Writing JSON into memory cannot fail.
        let _ = serde_json::to_writer(&mut bytes, &Item(&object, whole));
    }
    bytes.extend_from_slice(b"]}\n");
    bytes
}

/// One object.
pub(crate) async fn one(
    inner: &Inner,
    resource: &Resource,
    key: &str,
    name: &str,
    version: Option<u64>,
) -> Result<Kept, Status> {
    if let Some(version) = version.filter(|version| *version > 0) {
        fresh(inner, version).await?;
    }
    let store = inner.store();
    if version == Some(0) && store.seen() < store.version() {
        let mut found = None;
        store.scan(&resource.storage, store.seen(), key, key, &mut |here, object| {
            found = (here == key).then(|| object.clone());
            false
        });
        return found.ok_or_else(|| Status::not_found(resource, name));
    }
    store
        .get(&resource.storage, key)
        .cloned()
        .ok_or_else(|| Status::not_found(resource, name))
}

/// How long the real server waits for its cache.
pub(crate) const FRESH_WITHIN: Duration = Duration::from_secs(3);
