//! What AWS does not document, as choices.

/// One field for each undocumented behaviour. The default is the one that makes the product's life harder; tests run
/// under each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Behaviours {}

impl Default for Behaviours {
    fn default() -> Self {
        Self {}
    }
}
