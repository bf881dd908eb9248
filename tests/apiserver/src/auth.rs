//! Decides who a request comes from and whether they may: bearer tokens, and a list of what is forbidden. It never looks
//! at roles or bindings.

use crate::status::Status;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// What nobody may do, or one user. An absent part means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// get, list, watch, create, update, patch, delete, deletecollection.
    #[serde(default)]
    pub verb: Option<String>,
    /// Plural name, with the sub-resource if there is one.
    #[serde(default)]
    pub resource: Option<String>,
    /// Namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Only this user.
    #[serde(default)]
    pub user: Option<String>,
}

impl Denial {
    /// One verb on one resource, everywhere.
    pub fn of(verb: &str, resource: &str) -> Self {
        Self {
            verb: Some(verb.into()),
            resource: Some(resource.into()),
            ..Self::default()
        }
    }

    /// Only for this user.
    pub fn to(mut self, user: &str) -> Self {
        self.user = Some(user.into());
        self
    }
}

/// What a request wants, in the words of authorisation.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'r> {
    /// The verb.
    pub verb: &'r str,
    /// API group.
    pub group: &'r str,
    /// Plural name, with the sub-resource.
    pub resource: &'r str,
    /// Namespace of the path.
    pub namespace: Option<&'r str>,
    /// Name of the path.
    pub name: Option<&'r str>,
}

/// Tokens that are valid, and denials. Without any token, everybody is let in.
#[derive(Clone, Debug, Default)]
pub struct Access {
    tokens: BTreeMap<String, String>,
    required: bool,
    denials: Vec<Denial>,
}

impl Access {
    /// Lets a token in, as this user; from then on a token is needed.
    pub fn allow_token(&mut self, token: &str, user: &str) {
        self.tokens.insert(token.into(), user.into());
        self.required = true;
    }

    /// Lets a token in no longer.
    pub fn expire_token(&mut self, token: &str) {
        self.tokens.remove(token);
    }

    /// Forbids.
    pub fn deny(&mut self, denial: Denial) {
        self.denials.push(denial);
    }

    /// Takes back what was forbidden in the same words.
    pub fn grant(&mut self, denial: &Denial) {
        self.denials.retain(|one| one != denial);
    }

    /// The user behind an Authorization header, or the one that he speaks for, which everybody may.
    pub fn user(&self, header: Option<&str>, spoken_for: Option<&str>) -> Result<String, Status> {
        let user = self.known(header)?;
        Ok(spoken_for.map_or(user, str::to_owned))
    }

    fn known(&self, header: Option<&str>) -> Result<String, Status> {
        let token = header.and_then(|header| header.strip_prefix("Bearer ")).map(str::trim);
        match token.and_then(|token| self.tokens.get(token)) {
            Some(user) => Ok(user.clone()),
            None if self.required => Err(Status::plain(401, None)),
            None => Ok("system:anonymous".into()),
        }
    }

    /// May this user?
    pub fn check(&self, user: &str, wish: &Wish<'_>) -> Result<(), Status> {
        let is = |wanted: &Option<String>, given: &str| wanted.as_deref().is_none_or(|wanted| wanted == given);
        let denied = self.denials.iter().any(|denial| {
            is(&denial.verb, wish.verb)
                && is(&denial.resource, wish.resource)
                && is(&denial.user, user)
                && denial
                    .namespace
                    .as_deref()
                    .is_none_or(|namespace| wish.namespace == Some(namespace))
        });
        if !denied {
            return Ok(());
        }
        let Wish {
            verb, group, resource, ..
        } = wish;
        let plural = resource.split('/').next().unwrap_or_default();
        let mut what = if group.is_empty() {
            plural.to_owned()
        } else {
            format!("{plural}.{group}")
        };
        let mut details = json!({"kind": plural});
        if !group.is_empty() {
            details["group"] = (*group).into();
        }
        if let Some(name) = wish.name {
            what = format!("{what} \"{name}\"");
            details["name"] = name.into();
        }
        let scope = wish
            .namespace
            .map_or("at the cluster scope".into(), |ns| format!("in the namespace \"{ns}\""));
        let message = format!(
            "{what} is forbidden: User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}"
        );
        Err(Status {
            details: Some(details),
            ..Status::new(403, "Forbidden", message)
        })
    }
}
