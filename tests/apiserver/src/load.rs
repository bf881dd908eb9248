//! Decides how objects come in from files and from the test itself: whole, as `kubectl apply` would leave them. It never
//! refuses for want of a namespace.

use crate::resources::{DEFINITIONS, Resource};
use crate::rules;
use crate::server::Inner;
use crate::store::Kept;
use crate::view::kept;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Creates or replaces an object with its status.
pub(crate) fn apply(inner: &Inner, mut object: Value) -> Result<Kept> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let resources = inner.resources();
    let resource = resources
        .iter()
        .find(|one| one.api_version() == version && one.kind == kind);
    let resource: Arc<Resource> = resource
        .with_context(|| format!("{version} {kind} is not served; a definition may have to come first"))?
        .clone();
    let namespace = resource
        .namespaced
        .then(|| match object["metadata"]["namespace"].as_str() {
            Some(namespace) if !namespace.is_empty() => namespace.to_owned(),
            _ => "default".to_owned(),
        });
    let name = rules::identify(&resource, &mut object, namespace.as_deref(), None)
        .map_err(|status| anyhow::anyhow!(status.message))?;
    if let Some(namespace) = namespace.as_deref() {
        let there = inner.store().get("/namespaces", namespace).is_some();
        if !there {
            apply(
                inner,
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            )?;
        }
    }
    let key = resource.key(namespace.as_deref().unwrap_or_default(), &name);
    let mut new = kept(&resource, object);
    let result = {
        let mut store = inner.store();
        let old = store.get(&resource.storage, &key).cloned();
        let status = new.get("status").cloned();
        match &old {
            Some(old) => {
                rules::changed(&resource, old, &mut new, false);
                new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
            }
            None => rules::born(&resource, &mut new),
        }
        if let Some(status) = status {
            new["status"] = status;
        }
        match old {
            Some(old) if *old == new => return Ok(old),
            _ => store.put(&resource.storage, &key, new),
        }
    };
    inner.announce();
    if &*resource.storage == DEFINITIONS {
        inner.serve_defined();
    }
    Ok(result)
}

/// Applies every document; lists are taken apart. Definitions and namespaces come first, whatever their place.
pub(crate) fn yaml(inner: &Inner, text: &str) -> Result<usize> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("YAML")?;
    let mut objects = Vec::new();
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        match document["kind"].as_str() {
            Some(kind) if kind.ends_with("List") && document["items"].is_array() => {
                objects.extend(document["items"].as_array().into_iter().flatten().cloned());
            }
            _ => objects.push(document),
        }
    }
    let count = objects.len();
    let early = |object: &Value| match object["kind"].as_str() {
        Some("CustomResourceDefinition") => 0,
        Some("Namespace") => 1,
        _ => 2,
    };
    objects.sort_by_key(early);
    for object in objects {
        apply(inner, object)?;
    }
    Ok(count)
}

/// Applies a file, or the YAML files of a folder.
pub(crate) fn path(inner: &Inner, path: &Path) -> Result<usize> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
        files = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<PathBuf>>>()?;
        files.retain(|file| file.extension().is_some_and(|end| end == "yaml" || end == "yml"));
        files.sort();
    } else if !path.exists() {
        bail!("{} does not exist", path.display());
    }
    let mut count = 0;
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        count += yaml(inner, &text).with_context(|| file.display().to_string())?;
    }
    Ok(count)
}
