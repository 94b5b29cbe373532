//! What developers run, as `cargo xtask COMMAND`.

mod dependencies;
mod histories;
mod package;
mod python;
mod run;
mod schema;
mod templates;
mod test;
mod third_party;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What developers of EcrCleanup run.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check and test everything, as CI does. The first step that fails ends it.
    Test(test::Options),
    /// Replay random histories against an oracle that knows the truth.
    Histories(histories::Options),
    /// Write the JSON Schemas of the resource beside provider-schema.
    Schema,
    /// Build the Lambda artifact and the hub template that refers to it, into dist/.
    Package(package::Options),
}

/// Why a command failed, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failure(String);

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Test(options) => test::run_steps(&options),
        Command::Histories(options) => histories::replay(&options),
        Command::Schema => schema::write(),
        Command::Package(options) => package::package(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\n{failure}");
            ExitCode::FAILURE
        }
    }
}
