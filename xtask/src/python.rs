//! The Python programs that others wrote, each in an environment of its own below `.python/`, which git ignores.
//!
//! What is in an environment is `tests/third-party/requirements/NAME.txt`, every version pinned. An environment is
//! made again when that file has changed.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::Failure;
use crate::run::{in_repository, program, run};

/// An environment that holds what its requirements say.
pub struct Environment {
    bin: PathBuf,
}

impl Environment {
    /// The environment of that name, made first if it is missing or out of date.
    pub fn ready(name: &str) -> Result<Self, Failure> {
        let requirements = in_repository("tests/third-party/requirements").join(format!("{name}.txt"));
        let folder = in_repository(".python").join(name);
        let installed = folder.join("installed.txt");
        let wanted = fs::read(&requirements)
            .map_err(|error| Failure(format!("cannot read {}: {error}", requirements.display())))?;
        let environment = Self { bin: folder.join("bin") };
        if fs::read(&installed).is_ok_and(|present| present == wanted) {
            return Ok(environment);
        }
        println!("making the Python environment {name} (once)");
        run(
            program("python3").args(["-m", "venv", "--clear"]).arg(&folder),
            "Python 3.11 or later with its venv module is needed (on Debian: apt-get install python3 python3-venv).",
        )?;
        run(
            environment
                .python()
                .args(["-m", "pip", "install", "--quiet", "--no-deps", "--requirement"])
                .arg(&requirements),
            "The packages come from PyPI, which must be reachable the first time.",
        )?;
        fs::write(&installed, wanted)
            .map_err(|error| Failure(format!("cannot write {}: {error}", installed.display())))?;
        Ok(environment)
    }

    /// The environment's Python.
    pub fn python(&self) -> Command {
        self.program("python")
    }

    /// The search path with the environment's programs first.
    pub fn search_path(&self) -> Result<OsString, Failure> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.bin.clone()).chain(std::env::split_paths(&path));
        std::env::join_paths(folders).map_err(|error| Failure(format!("cannot extend PATH: {error}")))
    }

    /// A program that a package of the environment brings.
    pub fn program(&self, name: &str) -> Command {
        let mut command = program(self.bin.join(name));
        command.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("PYTHONPATH");
        command
    }
}
