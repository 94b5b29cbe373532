//! YAML whose nodes remember where they stand, and the refusal that names the place.

use saphyr::{MarkedYaml, Marker, ScalarStyle, YamlData, YamlLoader};
use saphyr_parser::Parser;

/// Why a file is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {reason}")]
pub struct Refusal {
    /// The file's name, as it was given.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub reason: String,
}

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// In characters, from 0.
    pub(crate) index: usize,
    /// From 1.
    pub(crate) line: usize,
    /// From 1.
    pub(crate) column: usize,
}

impl From<Marker> for Position {
    fn from(marker: Marker) -> Self {
        Self { index: marker.index(), line: marker.line(), column: marker.col() + 1 }
    }
}

/// A node of a file.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Where it begins.
    pub(crate) at: Position,
    /// Where it ends, in characters from 0.
    pub(crate) end: usize,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a node is. Tags (`!Ref`) are left aside.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Nothing.
    Empty,
    /// Any scalar, as it is written.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the text.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// Its text.
    pub(crate) name: String,
    /// Where it begins.
    pub(crate) at: Position,
}

impl Node {
    /// The entries of a mapping; none of anything else.
    pub(crate) fn entries(&self) -> &[(Key, Node)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of a mapping under a key.
    pub(crate) fn entry(&self, name: &str) -> Option<&(Key, Node)> {
        self.entries().iter().find(|(key, _)| key.name == name)
    }

    /// The value of a mapping under a key.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|(_, node)| node)
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A text and the name of its file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl<'a> Source<'a> {
    /// A refusal at a place.
    pub(crate) fn refuse(&self, at: Position, reason: impl Into<String>) -> Refusal {
        Refusal { file: self.file.to_owned(), line: at.line, column: at.column, reason: reason.into() }
    }

    /// A refusal at the beginning of a line.
    pub(crate) fn refuse_line(&self, line: usize, reason: impl Into<String>) -> Refusal {
        let text = self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let column = text.chars().take_while(|next| next.is_whitespace()).count() + 1;
        Refusal { file: self.file.to_owned(), line, column, reason: reason.into() }
    }

    /// The one YAML document of the text.
    pub(crate) fn read(&self) -> Result<Node, Refusal> {
        let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
        loader.early_parse(false);
        let bad = |error: &saphyr_parser::ScanError| {
            self.refuse((*error.marker()).into(), format!("not valid YAML: {}", error.info()))
        };
        Parser::new_from_str(self.text).load(&mut loader, true).map_err(|error| bad(&error))?;
        if let Some(error) = loader.error() {
            return Err(bad(error));
        }
        match loader.into_documents().as_slice() {
            [document] => self.node(document),
            [] => Err(self.refuse_line(1, "the file is empty")),
            [_, second, ..] => Err(self.refuse(second.span.start.into(), "a second YAML document begins here")),
        }
    }

    fn node(&self, yaml: &MarkedYaml<'_>) -> Result<Node, Refusal> {
        let at = Position::from(yaml.span.start);
        let end = yaml.span.end.index();
        let kind = match &yaml.data {
            YamlData::Representation(text, ScalarStyle::Plain, None) if ["", "~", "null"].contains(&text.as_ref()) => {
                Kind::Empty
            }
            YamlData::Representation(text, ..) => Kind::Text(text.to_string()),
            YamlData::Sequence(items) => {
                Kind::List(items.iter().map(|item| self.node(item)).collect::<Result<_, _>>()?)
            }
            YamlData::Mapping(entries) => {
                let mut read: Vec<(Key, Node)> = Vec::new();
                for (key, value) in entries {
                    let at = Position::from(key.span.start);
                    let YamlData::Representation(name, ..) = &key.data else {
                        return Err(self.refuse(at, "a key must be plain text"));
                    };
                    read.push((Key { name: name.to_string(), at }, self.node(value)?));
                }
                Kind::Map(read)
            }
            YamlData::Tagged(_, inner) => self.node(inner)?.kind,
            YamlData::Value(_) | YamlData::Alias(_) | YamlData::BadValue => {
                return Err(self.refuse(at, "aliases and the like are not understood"));
            }
        };
        // The parser ends a collection in brackets before the bracket.
        let closed = matches!(kind, Kind::List(_) | Kind::Map(_))
            && self.text.chars().nth(end).is_some_and(|next| [']', '}'].contains(&next));
        Ok(Node { at, end: if closed { end + 1 } else { end }, kind })
    }

    /// The fields of a mapping that may have only the `known` keys.
    pub(crate) fn fields<'n>(&self, node: &'n Node, what: &str, known: &[&str]) -> Result<&'n Node, Refusal> {
        let Kind::Map(entries) = &node.kind else {
            return Err(self.refuse(node.at, format!("{what} must be a mapping with {}", known.join(", "))));
        };
        for (key, _) in entries {
            if !known.contains(&key.name.as_str()) {
                let reason = format!("unknown key {} in {what}; known are {}", key.name, known.join(", "));
                return Err(self.refuse(key.at, reason));
            }
        }
        Ok(node)
    }

    /// A field that must be there.
    pub(crate) fn need<'n>(&self, node: &'n Node, what: &str, name: &str) -> Result<&'n Node, Refusal> {
        node.get(name).ok_or_else(|| self.refuse(node.at, format!("{what} needs {name}")))
    }

    /// The text of a scalar.
    pub(crate) fn text<'n>(&self, node: &'n Node, what: &str) -> Result<&'n str, Refusal> {
        node.text().ok_or_else(|| self.refuse(node.at, format!("{what} must be text")))
    }

    /// `true` or `false`.
    pub(crate) fn truth(&self, node: &Node, what: &str) -> Result<bool, Refusal> {
        match node.text() {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            _ => Err(self.refuse(node.at, format!("{what} must be true or false"))),
        }
    }

    /// The items of a list.
    pub(crate) fn items<'n>(&self, node: &'n Node, what: &str) -> Result<&'n [Node], Refusal> {
        match &node.kind {
            Kind::List(items) => Ok(items),
            _ => Err(self.refuse(node.at, format!("{what} must be a list"))),
        }
    }
}
