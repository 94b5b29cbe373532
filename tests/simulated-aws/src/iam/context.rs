//! The context of a request: condition keys with their values.

use std::collections::BTreeMap;

/// Condition keys with their values. Key names are compared without case, as AWS does; a key is single-valued when
/// it holds one value, and absent is something else than present without values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    values: BTreeMap<String, Vec<String>>,
}

impl Context {
    /// A context without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same context with one more key of one value.
    #[must_use]
    pub fn with(self, key: &str, value: impl Into<String>) -> Self {
        self.with_all(key, [value.into()])
    }

    /// The same context with one more key of several values (or none, which is not the same as an absent key).
    #[must_use]
    pub fn with_all<V: Into<String>>(mut self, key: &str, values: impl IntoIterator<Item = V>) -> Self {
        self.values.insert(key.to_ascii_lowercase(), values.into_iter().map(Into::into).collect());
        self
    }

    /// The same context with one key for each tag: `PREFIX/KEY`, for example `aws:ResourceTag/team`.
    #[must_use]
    pub fn with_tags<'a>(self, prefix: &str, tags: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        tags.into_iter().fold(self, |context, (key, value)| context.with(&format!("{prefix}/{key}"), value))
    }

    /// Both contexts in one; keys of `other` win.
    #[must_use]
    pub fn merge(mut self, other: Context) -> Self {
        self.values.extend(other.values);
        self
    }

    /// The values of a key, or `None` when the request does not have it.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.values.get(&key.to_ascii_lowercase()).map(Vec::as_slice)
    }
}
