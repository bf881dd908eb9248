//! Writes JSON values as YAML that a person can edit. It never reads any.

use serde_json::Value;
use std::fmt::Write;

/// `value` as a YAML document. Strings that could be taken for something else are quoted.
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(&mut text, value, 0),
        Value::Array(list) if !list.is_empty() => block(&mut text, value, 0),
        _ => _ = writeln!(text, "{}", scalar(value)),
    }
    text
}

/// The members of a map or list that is not empty, one a line, indented by `depth` blanks.
fn block(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) => {
            for (key, member) in map {
                _ = write!(text, "{:depth$}{}:", "", word(key));
                member_of(text, member, depth);
            }
        }
        Value::Array(list) => {
            for member in list {
                let start = text.len();
                match member {
                    Value::Object(map) if !map.is_empty() => {
                        block(text, member, depth + 2);
                        text.replace_range(start..start + depth + 2, &format!("{:depth$}- ", ""));
                    }
                    _ => {
                        _ = write!(text, "{:depth$}-", "");
                        member_of(text, member, depth);
                    }
                }
            }
        }
        _ => {}
    }
}

fn member_of(text: &mut String, member: &Value, depth: usize) {
    let full = match member {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    };
    if full {
        text.push('\n');
        block(text, member, depth + 2);
    } else {
        _ = writeln!(text, " {}", scalar(member));
    }
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), word)
}

/// Bare only if no YAML version could read it as a number, a truth value, nothing, a date or syntax.
fn word(text: &str) -> String {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let reserved = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(inner)
        && !reserved.contains(&text.to_ascii_lowercase().as_str());
    if bare { text.into() } else { quoted(text) }
}

/// In double quotes; what is not printable ASCII by its code (YAML 1.2 section 5.7).
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => _ = write!(out, "\\U{:08x}", u32::from(c)),
        }
    }
    out + "\""
}
