//! An AWS organization in memory.
