//! Reading values out of the JSON that CloudFormation sends, where every boolean and number is a string, and collecting
//! everything that is wrong with them instead of stopping at the first.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::scalar;

/// One thing that is wrong with the properties of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: the path of the property, such as `Workloads.Accounts.AccountIds[2]`; empty for the whole.
    pub path: String,
    /// What: a phrase that can follow the path and a colon.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "ResourceProperties" } else { &self.path };
        write!(f, "{path}: {}", self.message)
    }
}

/// Everything that is wrong with the properties of a request, in the order of the properties. Never empty as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems, in the order of the properties.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn add(&mut self, path: &str, message: impl Into<String>) {
        self.0.push(Problem { path: path.to_owned(), message: message.into() });
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A value that can be read from the JSON of a request. `None` means that at least one problem was added.
pub(crate) trait Read: Sized {
    fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self>;
}

/// A scalar as the text that CloudFormation makes of it; nothing for lists, objects and null.
fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What a value is, for messages.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Reads any scalar that parses from its text.
pub(crate) fn read_scalar<T: FromStr<Err: fmt::Display>>(
    value: &Value,
    path: &str,
    problems: &mut Problems,
) -> Option<T> {
    let Some(text) = scalar_text(value) else {
        problems.add(path, format!("expected a single value, got {}", kind(value)));
        return None;
    };
    text.parse().map_err(|error: T::Err| problems.add(path, error.to_string())).ok()
}

macro_rules! read_from_text {
    ($($scalar:ty),+ $(,)?) => {$(
        impl Read for $scalar {
            fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
                read_scalar(value, path, problems)
            }
        }
    )+};
}

read_from_text!(
    String,
    scalar::Name,
    scalar::AccountId,
    scalar::Region,
    scalar::OrganizationId,
    scalar::OrganizationalUnitId,
    scalar::RoleArn,
    scalar::TagKey,
    scalar::TagValue,
    scalar::TagPattern,
    scalar::RollbackWindowHours,
    scalar::KeepPulledWithinHours,
    scalar::NeverDeployedAfterHours,
    scalar::RevisionCount,
    scalar::FamilyPattern,
    scalar::SweepSchedule,
    scalar::ImageCount,
    scalar::ConcurrencyPercentage,
    scalar::TolerancePercentage,
    scalar::ServiceTimeout,
);

impl Read for bool {
    fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
        match scalar_text(value).as_deref() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(text) => {
                problems.add(path, format!("expected true or false, got {text:?}"));
                None
            }
            None => {
                problems.add(path, format!("expected true or false, got {}", kind(value)));
                None
            }
        }
    }
}

/// A list whose order has no meaning; a value that stands in it twice is a problem, as it is in the schema.
impl<T: Read + Ord> Read for BTreeSet<T> {
    fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
        let Value::Array(items) = value else {
            problems.add(path, format!("expected a list, got {}", kind(value)));
            return None;
        };
        let mut set = BTreeSet::new();
        let mut complete = true;
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Some(item) = T::read(item, &path, problems) else {
                complete = false;
                continue;
            };
            if !set.insert(item) {
                problems.add(&path, "stands in the list a second time");
                complete = false;
            }
        }
        complete.then_some(set)
    }
}

/// An object that is being read. Properties that were not asked for by the time it is closed are refused by name.
pub(crate) struct Object<'a> {
    members: &'a Map<String, Value>,
    path: &'a str,
    known: Vec<&'static str>,
    problems: &'a mut Problems,
}

impl<'a> Object<'a> {
    /// Begins to read an object.
    pub(crate) fn open(value: &'a Value, path: &'a str, problems: &'a mut Problems) -> Option<Self> {
        let Value::Object(members) = value else {
            problems.add(path, format!("expected an object, got {}", kind(value)));
            return None;
        };
        Some(Self { members, path, known: Vec::new(), problems })
    }

    /// A property that may be absent. The outer `None` means that it is there and wrong.
    pub(crate) fn optional<T: Read>(&mut self, name: &'static str) -> Option<Option<T>> {
        self.known.push(name);
        match self.members.get(name) {
            None => Some(None),
            Some(value) => T::read(value, &member_path(self.path, name), self.problems).map(Some),
        }
    }

    /// A property that must be there.
    pub(crate) fn required<T: Read>(&mut self, name: &'static str) -> Option<T> {
        let value = self.optional(name)?;
        if value.is_none() {
            self.problems.add(&member_path(self.path, name), "is required");
        }
        value
    }

    /// A list that must be there and must not be empty.
    pub(crate) fn required_list<T: Read + Ord>(&mut self, name: &'static str) -> Option<BTreeSet<T>> {
        let list: BTreeSet<T> = self.required(name)?;
        if list.is_empty() {
            self.problems.add(&member_path(self.path, name), "must not be empty");
            return None;
        }
        Some(list)
    }

    /// A problem of the object as a whole.
    pub(crate) fn problem(&mut self, message: impl Into<String>) {
        self.problems.add(self.path, message);
    }

    /// Refuses, by name, every property that was not asked for.
    pub(crate) fn close(self) {
        for name in self.members.keys().filter(|name| !self.known.contains(&name.as_str())) {
            let message = match self.known.iter().find(|known| known.eq_ignore_ascii_case(name)) {
                Some(known) => format!("is not known here; did you mean {known}?"),
                None => format!("is not known here; known are {}", self.known.join(", ")),
            };
            self.problems.add(&member_path(self.path, name), message);
        }
    }
}

fn member_path(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
