//! The quickstart: an AWS organization in memory deploys the templates as they are shipped, teams push, deploy and roll back
//! as a scenario says, and a timeline tells what happened.
//!
//! # Guarantees
//! - What the timeline tells is read from events on the bus, from the calls of the functions and from CloudFormation, never
//!   from the scenario.
//! - The same scenario, template and seed give the same output, byte for byte.

mod happening;
mod legend;
mod moment;
mod play;
mod scenario;
mod source;
mod template;
mod timeline;
mod watch;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

pub use play::Failure;
pub use scenario::MOST_DAYS;
pub use source::Refusal;

use play::Play;
use scenario::Scenario;
use template::Template;
use timeline::Timeline;

/// The template that is deployed unless another is given, as shipped.
const TEMPLATE: (&str, &str) = ("examples/accounts.yaml", include_str!("../accounts.yaml"));
/// The scenario that is played unless another is given.
const SCENARIO: (&str, &str) = ("examples/scenarios/three-days.yaml", include_str!("../scenarios/three-days.yaml"));

/// What to play.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Another template with an EcrCleanup.
    pub template: Option<PathBuf>,
    /// Another scenario.
    pub scenario: Option<PathBuf>,
    /// How many days; as the scenario says if `None`.
    pub days: Option<u32>,
    /// What everything random comes from.
    pub seed: u64,
    /// One event a line instead of text.
    pub json: bool,
}

/// Plays, and writes to `out` what happens.
///
/// # Errors
/// A file cannot be read or is refused, `out` cannot be written, or something is left that should have been removed.
pub fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let (file, text) = read(options.scenario.as_deref(), SCENARIO)?;
    let scenario = Scenario::read(&file, &text)?;
    let (file, text) = read(options.template.as_deref(), TEMPLATE)?;
    let template = Template::new(&file, &text);
    let days = options.days.unwrap_or(scenario.days);
    Play::run(&scenario, template, days, options.seed, Timeline::new(out, options.json))
}

fn read(path: Option<&Path>, default: (&str, &str)) -> Result<(String, String), Failure> {
    let Some(path) = path else { return Ok((default.0.to_owned(), default.1.to_owned())) };
    let name = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => Ok((name, text)),
        Err(source) => Err(Failure::Unreadable { path: name, source }),
    }
}
