//! Typed inputs: from the JSON of a call to a struct that names every member it understands.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::operation::ServiceError;

/// Reads `input` as `T`. A member that `T` does not know, at any depth, is refused as not simulated; a missing or
/// mistyped one is the caller's error, with `code`.
pub(crate) fn read<T: DeserializeOwned>(input: &Value, code: &str) -> Result<T, ServiceError> {
    T::deserialize(input).map_err(|error| {
        let error = error.to_string();
        if error.starts_with("unknown field") || error.starts_with("unknown variant") {
            ServiceError::not_simulated(error)
        } else {
            ServiceError::new(code, error)
        }
    })
}
