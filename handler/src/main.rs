//! The entry point of the Lambda artifact.
fn main() {}
