//! Templates that declare an `EcrCleanup`, and the quickstart.
