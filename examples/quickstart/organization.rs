//! `cargo run --example organization`: the quickstart.

use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use examples::{Failure, MOST_DAYS, Options};

/// Shows EcrCleanup at work in an AWS organization in memory.
///
/// A hub account, two workload accounts and two regions deploy infra-templates/provider.yaml and
/// examples/accounts.yaml as shipped. Teams push, deploy and roll back services over some virtual days,
/// and a timeline tells what follows: task definitions become inactive, checks are scheduled and due,
/// evidence is gathered, images are deleted, kept or postponed. At the end a table shows each
/// repository, the stacks are deleted, and all accounts are listed.
///
/// Nothing is called outside this process; it takes some seconds.
#[derive(Debug, Parser)]
#[command(name = "organization", verbatim_doc_comment)]
struct Arguments {
    /// Deploy this template instead of examples/accounts.yaml: examples/organization.yaml, say.
    ///
    /// It must declare a Custom::EcrCleanup. Its parameters WorkloadAccountIds, OrganizationId,
    /// OrganizationalUnitIds and Regions are given what this organization has; others need a Default.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    template: Option<PathBuf>,

    /// Play this scenario instead of examples/scenarios/three-days.yaml, which explains the format.
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,

    /// Play so many days instead of those that the scenario says; later actions are left out.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_DAYS)))]
    days: Option<u32>,

    /// Whatever is random (ids, delays) comes from this number: same number, same output.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Write each event as a line of JSON.
    ///
    /// Every line has time, account, accountName, region and event, and what the event is about;
    /// examples/README.md lists the events and their fields.
    #[arg(long, verbatim_doc_comment)]
    json: bool,
}

fn main() -> ExitCode {
    let Arguments { template, scenario, days, seed, json } = Arguments::parse();
    let options = Options { template, scenario, days, seed, json };
    let mut out = BufWriter::new(io::stdout().lock());
    match examples::run(&options, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough, as with `| head`.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            drop(out);
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
