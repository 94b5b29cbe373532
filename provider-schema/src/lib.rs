//! The `EcrCleanup` resource.
