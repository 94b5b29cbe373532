//! Running other programs: their output passes through, and a failure says which command it was and what to do.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;

/// A path inside the repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).join(path)
}

/// The cargo that runs this program.
pub fn cargo() -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A command that runs in the repository's root.
pub fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(in_repository("")).stdin(Stdio::null());
    command
}

/// Runs a command; if it fails, `advice` says what to do.
pub fn run(command: &mut Command, advice: &str) -> Result<(), Failure> {
    let status = command.status().map_err(|error| not_started(command, &error, advice))?;
    if status.success() { Ok(()) } else { Err(Failure(format!("{} ended with {status}.\n{advice}", shown(command)))) }
}

/// Runs a command whatever its exit status, and returns that status' success and what it printed.
pub fn output(command: &mut Command, advice: &str) -> Result<(bool, String), Failure> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| not_started(command, &error, advice))?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

fn not_started(command: &Command, error: &std::io::Error, advice: &str) -> Failure {
    Failure(format!("cannot start {}: {error}.\n{advice}", shown(command)))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
