//! The functions of EcrCleanup.
