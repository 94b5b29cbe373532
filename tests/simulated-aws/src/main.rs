//! Serves the simulated AWS over HTTP.
fn main() {}
