//! The simulated AWS, held against software that others wrote.

use std::fs;
use std::path::PathBuf;

use crate::Failure;
use crate::python::Environment;
use crate::run::{in_repository, run};

/// Where the simulated AWS writes the calls that it answers during the tests.
pub fn recorded_calls() -> PathBuf {
    in_repository("target/recorded-calls")
}

/// Removes what earlier tests recorded.
pub fn forget_recorded_calls() -> Result<(), Failure> {
    let folder = recorded_calls();
    let emptied = if folder.exists() { fs::remove_dir_all(&folder) } else { Ok(()) };
    emptied
        .and_then(|()| fs::create_dir_all(&folder))
        .map_err(|error| Failure(format!("cannot empty {}: {error}", folder.display())))
}

/// Holds every recorded call against the service models that botocore publishes.
pub fn check_service_models() -> Result<(), Failure> {
    let environment = Environment::ready("botocore")?;
    run(
        environment.python().args(["-m", "unittest", "discover", "--start-directory", "tests/third-party", "--quiet"]),
        "The check itself is wrong: see tests/third-party/test_service_models.py.",
    )?;
    run(
        environment.python().arg("tests/third-party/service_models.py").arg(recorded_calls()),
        "Each line names a call of the product or an answer of the simulated AWS that AWS's own model does not allow.\n\
         Without recorded calls, run the whole: cargo xtask test --only rust,models",
    )
}
