//! Decides how YAML text becomes values whose places in the text are known. It never builds more than its limits allow, aliases counted in full.
//!
//! Plain words are read as kubectl reads them (YAML 1.1: `yes` and `on` are booleans), so that a manifest means here what
//! it means there. Tags other than the core ones, merge keys and keys that are no text are refused.

use super::scalar::{plain_scalar, tagged_scalar};
use crate::objects::{FieldPath, Step};
use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

/// What a text may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct YamlLimits {
    /// Values in all documents, with aliases written out.
    pub nodes: usize,
    /// Nesting.
    pub depth: usize,
    /// Bytes of all texts and keys, with aliases written out.
    pub bytes: usize,
    /// Bytes that aliases add when they are written out: those of their texts and keys, and [`VALUE`] for each value.
    pub aliased: usize,
}

/// What a value takes when it is built, roughly, in bytes.
pub const VALUE: usize = 64;

/// A place in a text, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

/// Why a text is not accepted, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// Where.
    pub place: Place,
    /// Why.
    pub text: String,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.place.line, self.place.column, self.text
        )
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub struct Node {
    place: Place,
    kind: Kind,
    /// Values in it, itself counted, aliases written out.
    size: usize,
    /// Bytes of the texts and keys in it, aliases written out.
    bytes: usize,
    /// Levels below it and its own.
    depth: usize,
}

#[derive(Debug)]
enum Kind {
    Scalar(Value),
    List(Vec<Rc<Node>>),
    Map(Vec<(String, Rc<Node>)>),
}

impl Node {
    /// Where the value begins.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The value alone.
    pub fn value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::List(items) => Value::Array(items.iter().map(|item| item.value()).collect()),
            Kind::Map(fields) => Value::Object(fields.iter().map(|(k, v)| (k.clone(), v.value())).collect()),
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// A field of a map.
    pub fn field(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Map(fields) => fields.iter().find(|(k, _)| k == key).map(|(_, v)| &**v),
            _ => None,
        }
    }

    /// The elements of a list.
    pub fn items(&self) -> Option<&[Rc<Self>]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            _ => None,
        }
    }

    /// Whether there is nothing.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Scalar(Value::Null))
    }

    /// Where the field stands, or what around it is there.
    pub fn place_of(&self, path: &FieldPath) -> Place {
        let mut at = self;
        for step in path.steps() {
            let next = match step {
                Step::Key(key) => at.field(key),
                Step::Index(index) => at.items().and_then(|items| items.get(*index)).map(|item| &**item),
            };
            match next {
                Some(node) => at = node,
                None => break,
            }
        }
        at.place
    }
}

/// All documents of a text; empty ones are left out.
pub fn documents(text: &str, limits: YamlLimits) -> Result<Vec<Rc<Node>>, YamlError> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: limits.depth.saturating_add(1),
        block_nesting_limit: limits.depth.saturating_add(1),
    };
    let mut builder = Builder {
        limits,
        open: Vec::new(),
        anchors: HashMap::new(),
        done: Vec::new(),
        finished: (0, 0),
        nodes: 0,
        aliased: 0,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|e| syntax(&e))?;
        builder.take(event, &span)?;
    }
    Ok(builder.done)
}

fn syntax(e: &ScanError) -> YamlError {
    let place = Place {
        line: narrow(e.marker().line()),
        column: narrow(e.marker().col() + 1),
    };
    YamlError {
        place,
        text: format!("not valid YAML: {}", e.info()),
    }
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A list or map that is not closed yet.
struct Open {
    place: Place,
    anchor: usize,
    kind: Kind,
    /// The key whose value comes next.
    key: Option<String>,
    /// Keys so far, and their lines.
    keys: HashMap<String, u32>,
    size: usize,
    bytes: usize,
    depth: usize,
}

struct Builder {
    limits: YamlLimits,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    done: Vec<Rc<Node>>,
    /// Values and bytes in `done`.
    finished: (usize, usize),
    nodes: usize,
    /// Bytes by aliases so far.
    aliased: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), YamlError> {
        let place = Place {
            line: narrow(span.start.line()),
            column: narrow(span.start.col() + 1),
        };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = match tag {
                    None if style == ScalarStyle::Plain => plain_scalar(&text),
                    None => Value::String(text.clone().into_owned()),
                    Some(tag) => tagged_scalar(tag.core_suffix(), &text).map_err(|text| YamlError { place, text })?,
                };
                if self.wants_key() {
                    return self.key(&text, &value, style, place);
                }
                let bytes = value.as_str().map_or(0, str::len);
                self.value(place, anchor, Kind::Scalar(value), (0, bytes, 0))
            }
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(YamlError {
                        place,
                        text: "an alias cannot stand inside of what it names".to_owned(),
                    });
                };
                if self.wants_key() {
                    return Err(YamlError {
                        place,
                        text: "a key cannot be an alias; write it out".to_owned(),
                    });
                }
                // Whatever encloses it is in the text itself, so these add up to all that is not.
                let adds = node.size.saturating_mul(VALUE).saturating_add(node.bytes);
                self.aliased = self.aliased.saturating_add(adds);
                if self.aliased > self.limits.aliased {
                    let text = format!(
                        "aliases stand for more than {} KiB; write out what is needed",
                        self.limits.aliased / 1024
                    );
                    return Err(YamlError { place, text });
                }
                self.add(place, node)
            }
            Event::SequenceStart(_, anchor, tag) => self.begin(
                place,
                anchor,
                Kind::List(Vec::new()),
                tag.map(|t| t.core_suffix() == Some("seq")),
            ),
            Event::MappingStart(_, anchor, tag) => self.begin(
                place,
                anchor,
                Kind::Map(Vec::new()),
                tag.map(|t| t.core_suffix() == Some("map")),
            ),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open {
                    place,
                    anchor,
                    kind,
                    size,
                    bytes,
                    depth,
                    ..
                }) => self.value(place, anchor, kind, (size, bytes, depth)),
                None => Ok(()),
            },
            Event::DocumentStart(..) => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn wants_key(&self) -> bool {
        self.open
            .last()
            .is_some_and(|open| matches!(open.kind, Kind::Map(_)) && open.key.is_none())
    }

    fn begin(&mut self, place: Place, anchor: usize, kind: Kind, tag_fits: Option<bool>) -> Result<(), YamlError> {
        let refused = if tag_fits == Some(false) {
            "tags are not supported; leave it out".to_owned()
        } else if self.wants_key() {
            "a key must be a text".to_owned()
        } else if self.open.len() >= self.limits.depth {
            format!("nested deeper than {} levels", self.limits.depth)
        } else {
            self.open.push(Open {
                place,
                anchor,
                kind,
                key: None,
                keys: HashMap::new(),
                size: 0,
                bytes: 0,
                depth: 0,
            });
            return Ok(());
        };
        Err(YamlError { place, text: refused })
    }

    fn key(&mut self, text: &str, value: &Value, style: ScalarStyle, place: Place) -> Result<(), YamlError> {
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        let refused = if value.is_null() {
            "a key is missing before the colon".to_owned()
        } else if text == "<<" && style == ScalarStyle::Plain {
            "merge keys (`<<`) are not supported; write the fields out".to_owned()
        } else if let Some(line) = open.keys.insert(text.to_owned(), place.line) {
            format!(
                "key `{}` is given twice, first in line {line}",
                crate::objects::shown(text)
            )
        } else {
            open.bytes = open.bytes.saturating_add(text.len());
            open.key = Some(text.to_owned());
            return Ok(());
        };
        Err(YamlError { place, text: refused })
    }

    fn value(
        &mut self,
        place: Place,
        anchor: usize,
        kind: Kind,
        (size, bytes, depth): (usize, usize, usize),
    ) -> Result<(), YamlError> {
        let node = Rc::new(Node {
            place,
            kind,
            size: size + 1,
            bytes,
            depth: depth + 1,
        });
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.add(place, node)
    }

    fn add(&mut self, place: Place, node: Rc<Node>) -> Result<(), YamlError> {
        self.nodes += 1;
        let before = self.open.last().map_or(self.finished, |open| (open.size, open.bytes));
        let (size, bytes) = (before.0.saturating_add(node.size), before.1.saturating_add(node.bytes));
        if size > self.limits.nodes || self.nodes > self.limits.nodes {
            let text = format!(
                "more than {} values, aliases written out; split the file",
                self.limits.nodes
            );
            return Err(YamlError { place, text });
        }
        if bytes > self.limits.bytes {
            let text = format!(
                "more than {} KiB of text, aliases written out; split the file",
                self.limits.bytes / 1024
            );
            return Err(YamlError { place, text });
        }
        if self.open.len() + node.depth > self.limits.depth + 1 {
            return Err(YamlError {
                place,
                text: format!("nested deeper than {} levels", self.limits.depth),
            });
        }
        match self.open.last_mut() {
            None if node.is_null() => {}
            None => {
                self.finished = (size, bytes);
                self.done.push(node);
            }
            Some(open) => {
                (open.size, open.bytes) = (size, bytes);
                open.depth = open.depth.max(node.depth);
                match (&mut open.kind, open.key.take()) {
                    (Kind::Map(fields), Some(key)) => fields.push((key, node)),
                    (Kind::List(items), _) => items.push(node),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
