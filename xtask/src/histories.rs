//! `cargo xtask histories`: random histories against the oracle, on all cores.

use clap::Args;

use crate::Failure;
use crate::run::{cargo, run};

/// How many, and which.
#[derive(Args)]
pub struct Options {
    /// How many histories.
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// The seed of the first; the others have the next numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs them through the test that holds the oracle, so that what runs is what the tests have built already.
pub fn replay(options: &Options) -> Result<(), Failure> {
    run(
        cargo()
            .args(["test", "--workspace", "--locked", "--test", "histories", "--"])
            .args(["--exact", "--nocapture", "no_used_image_is_deleted_and_every_unused_one_finally_is"])
            .env("HISTORIES_COUNT", options.count.to_string())
            .env("HISTORIES_SEED", options.seed.to_string()),
        "The failing seed and the shortest history like it stand above: cargo xtask histories --count 1 --seed SEED",
    )
}
