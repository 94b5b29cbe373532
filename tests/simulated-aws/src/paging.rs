//! Pages of a listing.

use crate::operation::ServiceError;

/// The page of `items` that `token` (from the previous page) names, at most `size` items, and the next page's token.
/// A token that this function did not make is an error with `code`.
pub(crate) fn page<'a, T>(
    items: &'a [T],
    token: Option<&str>,
    size: usize,
    code: &str,
) -> Result<(&'a [T], Option<String>), ServiceError> {
    let start = match token {
        None => 0,
        Some(token) => token
            .strip_prefix("page-")
            .and_then(|start| start.parse::<usize>().ok())
            .ok_or_else(|| ServiceError::new(code, "Invalid token."))?,
    };
    let start = start.min(items.len());
    let end = (start + size.max(1)).min(items.len());
    Ok((&items[start..end], (end < items.len()).then(|| format!("page-{end}"))))
}
