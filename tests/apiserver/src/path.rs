//! Decides what a path and a method ask for, in the words of authorisation. It never knows whether that is served.

use hyper::Method;

/// A path of the API, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts<'p> {
    /// API group; empty for the core group.
    pub group: &'p str,
    /// API version.
    pub version: &'p str,
    /// Namespace, of what lives in one.
    pub namespace: Option<&'p str>,
    /// Plural name of the resource.
    pub plural: &'p str,
    /// Name of the object.
    pub name: Option<&'p str>,
    /// Sub-resource.
    pub sub: Option<&'p str>,
}

impl<'p> Parts<'p> {
    /// Nothing, if it is the path of no resource.
    pub(crate) fn of(path: &'p str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && !["status", "finalize"].contains(&rest[0]) => {
                (Some(*namespace), rest)
            }
            rest => (None, rest),
        };
        let (plural, name, sub) = match *rest {
            [plural] => (plural, None, None),
            [plural, name] => (plural, Some(name), None),
            [plural, name, sub] => (plural, Some(name), Some(sub)),
            _ => return None,
        };
        Some(Self {
            group,
            version,
            namespace,
            plural,
            name,
            sub,
        })
    }

    /// The resource as a rule names it: with its sub-resource, if there is one.
    pub(crate) fn named(&self) -> String {
        self.sub
            .map_or_else(|| self.plural.to_owned(), |sub| format!("{}/{sub}", self.plural))
    }
}

/// What is to be done; nothing, if the method means nothing there.
pub(crate) fn verb(method: &Method, named: bool, watching: bool) -> Option<&'static str> {
    Some(match (method, named) {
        (&Method::GET, _) if watching => "watch",
        (&Method::GET, true) => "get",
        (&Method::GET, false) => "list",
        (&Method::POST, false) => "create",
        (&Method::PUT, true) => "update",
        (&Method::PATCH, true) => "patch",
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) => "deletecollection",
        _ => return None,
    })
}
