//! The simulated AWS and the artifact, held against software that others wrote.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::python::Environment;
use crate::run::{cargo, in_repository, run};

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

/// Compares the simulated AWS, call by call over HTTP, with emulators that others wrote.
pub fn compare_with_emulators() -> Result<(), Failure> {
    let boto = Environment::ready("botocore")?;
    let moto = Environment::ready("moto")?;
    let ministack = Environment::ready("ministack")?;
    let advice = "The program that serves the simulated AWS does not build.";
    // The whole workspace rather than the one package: with the same features as the step before, nothing is built twice.
    run(cargo().args(["build", "--workspace", "--all-targets", "--locked"]), advice)?;
    run(
        boto.python()
            .arg("tests/third-party/emulators.py")
            .arg(target_folder()?.join("debug/simulated-aws"))
            .arg(moto.program("moto_server").get_program())
            .arg(ministack.program("ministack").get_program()),
        "Mend the simulated AWS, or, where the emulator is wrong, list the deviation with its reason in\n\
         tests/third-party/calls/SERVICE.py.",
    )
}

/// Has the AWS CLI package and deploy `dist/provider.yaml` with the artifact, and the artifact deliver an EcrCleanup where
/// CloudFormation, EventBridge, Config and stack sets are what others made of them.
pub fn deliver(artifact: &Path) -> Result<(), Failure> {
    let boto = Environment::ready("botocore")?;
    let moto = Environment::ready("moto")?.program("moto_server");
    let ministack = Environment::ready("ministack")?.program("ministack");
    let aws = Environment::ready("awscli")?.program("aws");
    run(
        boto.python()
            .arg("tests/third-party/packaged_template.py")
            .arg(artifact)
            .args([moto.get_program(), aws.get_program()]),
        "The AWS CLI does not take dist/provider.yaml as tests/third-party/packaged_template.py says.",
    )?;
    run(
        boto.python()
            .arg("tests/third-party/custom_resource.py")
            .arg(artifact)
            .args([moto.get_program(), ministack.get_program()]),
        "The artifact does not do behind a ServiceToken what tests/third-party/custom_resource.py says.",
    )
}

/// Where cargo puts what it builds.
fn target_folder() -> Result<PathBuf, Failure> {
    let executable = std::env::current_exe().map_err(|error| Failure(format!("cannot find this program: {error}")))?;
    let folder = executable.ancestors().nth(2).map(PathBuf::from);
    folder.ok_or_else(|| Failure(format!("{} is not in a target folder", executable.display())))
}
