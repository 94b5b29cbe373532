//! `cargo xtask test`: everything that must hold before a change lands, in steps. The first that fails ends it.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::run::{cargo, run};
use crate::{Failure, dependencies, package, schema, templates, third_party};

/// What of the whole to run.
#[derive(Args)]
pub struct Options {
    /// Only these steps, in their order.
    #[arg(long, value_delimiter = ',', value_name = "STEP,…")]
    only: Vec<Step>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// rustfmt
    Format,
    /// Licences and sources of all dependencies
    Dependencies,
    /// The committed schemas are those of the types
    Schema,
    /// clippy, without a warning
    Clippy,
    /// All Rust tests
    Rust,
    /// Templates and the resource's schema, by the linters that users have
    Templates,
    /// The calls recorded by the Rust tests, by botocore's service models
    Models,
    /// The simulated AWS and the emulators of others, call by call
    Emulators,
    /// The x86_64 artifact, built, started, deployed, and behind a ServiceToken
    Package,
}

impl Step {
    fn headline(self) -> &'static str {
        match self {
            Self::Format => "format: rustfmt",
            Self::Dependencies => "dependencies: licences, sources, banned crates",
            Self::Schema => "schema: the committed schemas are those of the types",
            Self::Clippy => "clippy: the whole workspace, without a warning",
            Self::Rust => "rust: all tests of the workspace",
            Self::Templates => "templates: cfn-lint and CloudFormation's meta-schema",
            Self::Models => "models: recorded calls against botocore's service models",
            Self::Emulators => "emulators: the simulated AWS, moto and ministack, call by call",
            Self::Package => {
                "package: the x86_64 artifact, built, started, deployed, and delivering an EcrCleanup in emulators"
            }
        }
    }

    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Format => run(
                cargo().args(["fmt", "--all", "--check"]),
                "Run: cargo fmt --all (if cargo has no such command: rustup component add rustfmt)",
            ),
            Self::Dependencies => dependencies::check(),
            Self::Schema => schema::check(),
            Self::Clippy => run(
                cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]),
                "Mend what clippy says (if cargo has no such command: rustup component add clippy)",
            ),
            Self::Rust => {
                third_party::forget_recorded_calls()?;
                run(
                    cargo()
                        .args(["test", "--workspace", "--locked", "--no-fail-fast"])
                        .env("SIMULATED_AWS_RECORD", third_party::recorded_calls()),
                    "Run one test again with: cargo test -p PACKAGE NAME",
                )
            }
            Self::Templates => templates::check(),
            Self::Models => third_party::check_service_models(),
            Self::Emulators => third_party::compare_with_emulators(),
            Self::Package => package::check(),
        }
    }
}

/// Runs the steps and says how long each took.
pub fn run_steps(options: &Options) -> Result<(), Failure> {
    let chosen = |step: &Step| options.only.is_empty() || options.only.contains(step);
    let begin = now();
    let mut times = Vec::new();
    for step in Step::value_variants().iter().copied().filter(chosen) {
        println!("\n=== {}", step.headline());
        let begin = now();
        step.run().map_err(|Failure(why)| Failure(format!("FAILED {}\n{why}", step.headline())))?;
        let elapsed = begin.elapsed();
        println!("=== done in {}", seconds(elapsed));
        times.push((step, elapsed));
    }
    println!("\nEverything green in {}:", seconds(begin.elapsed()));
    for (step, elapsed) in times {
        println!("{:>8}  {}", seconds(elapsed), step.headline());
    }
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[expect(clippy::disallowed_methods, reason = "developers want to know how long a step really takes")]
fn now() -> Instant {
    Instant::now()
}
