//! Decides what a write does to the store: create, replace, patch, delete, with everything that can be refused about
//! them. It never reads requests.

use crate::patch;
use crate::resources::{DEFINITIONS, Resource};
use crate::rules;
use crate::server::Inner;
use crate::status::Status;
use crate::store::Kept;
use crate::view::kept;
use serde_json::{Value, json};

/// Where a write goes.
pub(crate) struct Target<'r> {
    /// The resource.
    pub resource: &'r Resource,
    /// Namespace of the path.
    pub namespace: Option<&'r str>,
    /// Name of the path.
    pub name: &'r str,
    /// By the sub-resource `status`.
    pub status: bool,
    /// Nothing is to be kept.
    pub dry: bool,
}

impl Target<'_> {
    fn key(&self) -> String {
        self.resource.key(self.namespace.unwrap_or_default(), self.name)
    }
}

/// Creates an object; `name` of the target is not used.
pub(crate) fn create(inner: &Inner, to: &Target<'_>, object: Value) -> Result<Kept, Status> {
    let resource = to.resource;
    let mut object = kept(resource, checked(resource, object, to.namespace, None)?);
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if object["metadata"]["resourceVersion"]
        .as_str()
        .is_some_and(|version| !version.is_empty())
    {
        return Err(Status::new(
            500,
            "",
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let key = resource.key(to.namespace.unwrap_or_default(), &name);
    rules::born(resource, &mut object);
    if &*resource.storage == DEFINITIONS {
        object["status"] = accepted(&object);
    }
    let object = {
        let mut store = inner.store();
        if let Some(namespace) = to
            .namespace
            .filter(|namespace| store.get("/namespaces", namespace).is_none())
        {
            let namespaces = inner
                .find("", "v1", "namespaces")
                .ok_or_else(|| Status::plain(500, None))?;
            return Err(Status::not_found(&namespaces, namespace));
        }
        if store.get(&resource.storage, &key).is_some() {
            return Err(Status::exists(resource, &name));
        }
        if to.dry {
            return Ok(object.into());
        }
        store.put(&resource.storage, &key, object)
    };
    inner.announce();
    if &*resource.storage == DEFINITIONS {
        inner.serve_defined();
    }
    Ok(object)
}

fn checked(
    resource: &Resource,
    mut object: Value,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<Value, Status> {
    if !object.is_object() {
        return Err(Status::bad_request(
            "the object provided is unrecognized (must be of type object)",
        ));
    }
    rules::identify(resource, &mut object, namespace, name)?;
    Ok(object)
}

/// What the server says of a definition as soon as it serves it.
fn accepted(definition: &Value) -> Value {
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let stored: Vec<&Value> = versions.filter(|v| v["storage"] == true).map(|v| &v["name"]).collect();
    let condition = |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": rules::now()});
    json!({
        "acceptedNames": definition["spec"]["names"],
        "conditions": [condition("NamesAccepted", "NoConflicts"), condition("Established", "InitialNamesAccepted")],
        "storedVersions": stored,
    })
}

/// Replaces an object, or its status.
pub(crate) fn replace(inner: &Inner, to: &Target<'_>, object: Value) -> Result<Kept, Status> {
    let object = kept(to.resource, checked(to.resource, object, to.namespace, Some(to.name))?);
    let version = &object["metadata"]["resourceVersion"];
    if to.resource.custom && version.as_str().is_none_or(str::is_empty) {
        let why = "Invalid value: 0: must be specified for an update".into();
        let causes = [("metadata.resourceVersion", "FieldValueInvalid", why)];
        return Err(Status::invalid(
            &to.resource.plural,
            &to.resource.group,
            to.name,
            &causes,
        ));
    }
    change(inner, to, |_| Ok(object.clone()))
}

/// Patches an object, or its status.
pub(crate) fn patch(inner: &Inner, to: &Target<'_>, media: &str, body: &Value) -> Result<Kept, Status> {
    change(inner, to, |old| {
        let whole = crate::view::shown(to.resource, old, crate::view::Shape::Whole);
        let patched = patch::apply(to.resource, &whole, media, body.clone())?;
        Ok(kept(
            to.resource,
            checked(to.resource, patched, to.namespace, Some(to.name))?,
        ))
    })
}

fn change(inner: &Inner, to: &Target<'_>, new: impl FnOnce(&Kept) -> Result<Value, Status>) -> Result<Kept, Status> {
    let (resource, key) = (to.resource, to.key());
    let result = {
        let mut store = inner.store();
        let old = store
            .get(&resource.storage, &key)
            .cloned()
            .ok_or_else(|| Status::not_found(resource, to.name))?;
        let mut new = new(&old)?;
        let given = |field: &str| new["metadata"][field].as_str().filter(|text| !text.is_empty());
        if given("uid").is_some_and(|uid| old["metadata"]["uid"] != uid) {
            let why = format!(
                "Precondition failed: UID in precondition: {}, UID in object meta: {}",
                given("uid").unwrap_or_default(),
                old["metadata"]["uid"].as_str().unwrap_or_default()
            );
            return Err(Status::conflict(resource, to.name, &why));
        }
        if given("resourceVersion").is_some_and(|version| old["metadata"]["resourceVersion"] != version) {
            let why = "the object has been modified; please apply your changes to the latest version and try again";
            return Err(Status::conflict(resource, to.name, why));
        }
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        rules::changed(resource, &old, &mut new, to.status);
        if new == *old {
            // The real server writes nothing either, so nobody is told.
            return Ok(old);
        }
        let finalizers = new["metadata"]["finalizers"].as_array().map_or(0, Vec::len);
        if to.dry {
            return Ok(new.into());
        }
        if new["metadata"]["deletionTimestamp"].is_string()
            && finalizers == 0
            && old["metadata"]["finalizers"].is_array()
        {
            store.put(&resource.storage, &key, new);
            store
                .remove(&resource.storage, &key)
                .ok_or_else(|| Status::not_found(resource, to.name))?
        } else {
            store.put(&resource.storage, &key, new)
        }
    };
    inner.announce();
    if &*resource.storage == DEFINITIONS {
        inner.serve_defined();
    }
    Ok(result)
}

/// Deletes an object: at once, or once its kubelet or finalizers are done. `options` are DeleteOptions or null.
pub(crate) fn delete(inner: &Inner, to: &Target<'_>, options: &Value) -> Result<(Kept, bool), Status> {
    let (resource, key) = (to.resource, to.key());
    let mut store = inner.store();
    let old = store
        .get(&resource.storage, &key)
        .cloned()
        .ok_or_else(|| Status::not_found(resource, to.name))?;
    for field in ["uid", "resourceVersion"] {
        let wanted = options["preconditions"][field].as_str();
        if wanted.is_some_and(|wanted| old["metadata"][field] != wanted) {
            let why = format!(
                "Precondition failed: {field} in precondition: {}",
                wanted.unwrap_or_default()
            );
            return Err(Status::conflict(resource, to.name, &why));
        }
    }
    if to.dry {
        return Ok((old, true));
    }
    let grace = options["gracePeriodSeconds"]
        .as_u64()
        .or(old["spec"]["terminationGracePeriodSeconds"].as_u64());
    let finished = ["Succeeded", "Failed"]
        .iter()
        .any(|phase| old["status"]["phase"] == *phase);
    let waits_for_kubelet = &*resource.storage == "/pods"
        && old["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty())
        && grace != Some(0)
        && !finished;
    let finalizers = old["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    let result = if waits_for_kubelet || finalizers {
        if old["metadata"]["deletionTimestamp"].is_string() {
            return Ok((old, false));
        }
        let seconds = if waits_for_kubelet { grace.unwrap_or(30) } else { 0 };
        (store.put(&resource.storage, &key, leaving(&old, seconds)), false)
    } else {
        if &*resource.storage == "/pods" {
            // Whoever watches sees it leave before it is gone.
            store.put(&resource.storage, &key, leaving(&old, 0));
        }
        let gone = remove_with_content(inner, &mut store, resource, &key, to.name);
        (gone.ok_or_else(|| Status::not_found(resource, to.name))?, true)
    };
    drop(store);
    inner.announce();
    if &*resource.storage == DEFINITIONS {
        inner.serve_defined();
    }
    Ok(result)
}

/// The object, to be gone within so many seconds.
fn leaving(object: &Value, seconds: u64) -> Value {
    let mut marked = object.clone();
    let metadata = &mut marked["metadata"];
    if metadata["deletionTimestamp"].is_null() {
        metadata["deletionTimestamp"] = rules::now().into();
        if let Some(generation) = metadata["generation"].as_u64() {
            metadata["generation"] = (generation + 1).into();
        }
    }
    metadata["deletionGracePeriodSeconds"] = seconds.into();
    marked
}

/// Removes an object, and before it what lives in a namespace or is of a defined kind.
pub(crate) fn remove_with_content(
    inner: &Inner,
    store: &mut crate::store::Store,
    resource: &Resource,
    key: &str,
    name: &str,
) -> Option<Kept> {
    let old = store.get(&resource.storage, key)?.clone();
    let (prefix, contents) = match &*resource.storage {
        "/namespaces" => {
            let mut leaving = (*old).clone();
            leaving["metadata"]["deletionTimestamp"] = rules::now().into();
            leaving["status"]["phase"] = "Terminating".into();
            store.put(&resource.storage, key, leaving);
            let all = inner.resources();
            (
                format!("{name}/"),
                all.iter()
                    .filter(|one| one.namespaced)
                    .map(|one| one.storage.clone())
                    .collect(),
            )
        }
        DEFINITIONS => {
            let defined = crate::resources::defined_by(&old);
            (String::new(), defined.iter().map(|one| one.storage.clone()).collect())
        }
        _ => (String::new(), Vec::new()),
    };
    let version = store.version();
    for storage in contents {
        let mut keys = Vec::new();
        store.scan(&storage, version, &prefix, "", &mut |key, _| {
            keys.push(key.to_owned());
            true
        });
        for key in keys {
            store.remove(&storage, &key);
        }
    }
    store.remove(&resource.storage, key)
}
