//! `cargo xtask package`: the Lambda artifact for each architecture, and the hub template that refers to it.
//!
//! Everything is written into `dist/`, which `aws cloudformation package` and `deploy` take as it is. The same source
//! and tools give the same bytes.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::python::Environment;
use crate::run::{in_repository, output, program, run};
use crate::{Failure, third_party};

/// What to build.
#[derive(Args)]
pub struct Options {
    /// Only this architecture; dist/provider.yaml then refers to it. Otherwise both, and it refers to arm64.
    #[arg(long)]
    architecture: Option<Architecture>,
}

/// An architecture of AWS Lambda.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Architecture {
    /// AWS Graviton
    #[value(name = "arm64")]
    Arm64,
    /// Intel and AMD
    #[value(name = "x86_64")]
    X86_64,
}

impl Architecture {
    /// Lambda's name of it.
    fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "x86_64",
        }
    }

    /// Rust's name of it.
    fn target(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-unknown-linux-gnu",
            Self::X86_64 => "x86_64-unknown-linux-gnu",
        }
    }

    /// The artifact's file in `dist/`.
    fn artifact(self) -> String {
        format!("ecr-cleanup-{}-{}.zip", env!("CARGO_PKG_VERSION"), self.name())
    }
}

/// Builds what was chosen, and the template for it.
pub fn package(options: &Options) -> Result<(), Failure> {
    match options.architecture {
        Some(architecture) => write(&[architecture], architecture),
        None => write(&[Architecture::Arm64, Architecture::X86_64], Architecture::Arm64),
    }
}

/// Builds the x86_64 artifact, starts it as Lambda would, and has it deployed and deliver an EcrCleanup.
pub fn check() -> Result<(), Failure> {
    write(&[Architecture::X86_64], Architecture::X86_64)?;
    let artifact = in_repository("dist").join(Architecture::X86_64.artifact());
    run(
        program("python3").arg("tests/third-party/start_artifact.py").arg(&artifact),
        "The artifact does not start as it would on Lambda.",
    )?;
    third_party::deliver(&artifact)
}

fn write(architectures: &[Architecture], referred: Architecture) -> Result<(), Failure> {
    require_targets(architectures)?;
    let tools = Environment::ready("cargo-lambda")?;
    let dist = in_repository("dist");
    fs::create_dir_all(&dist).map_err(|error| Failure(format!("cannot make {}: {error}", dist.display())))?;
    for architecture in architectures {
        let bootstrap = build(*architecture, &tools)?;
        let artifact = dist.join(architecture.artifact());
        run(tools.python().args(["-c", ZIP]).arg(&artifact).arg(&bootstrap), "The artifact could not be written.")?;
        println!("dist/{}", architecture.artifact());
    }
    write_template(&dist, referred)
}

/// A zip file of one executable file with a fixed time, so that the same content gives the same bytes.
const ZIP: &str = r#"
import sys, zipfile
entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
entry.create_system, entry.external_attr, entry.compress_type = 3, 0o100755 << 16, zipfile.ZIP_DEFLATED
with zipfile.ZipFile(sys.argv[1], "w") as artifact, open(sys.argv[2], "rb") as bootstrap:
    artifact.writestr(entry, bootstrap.read(), compresslevel=9)
"#;

/// Fails with all that is missing, and how to get it.
fn require_targets(architectures: &[Architecture]) -> Result<(), Failure> {
    let advice = "Rust's standard library for the target is looked up with rustc, which comes with rustup.";
    let mut missing = Vec::new();
    for target in architectures.iter().map(|architecture| architecture.target()) {
        // The compiler that cargo takes.
        let mut rustc = program(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let (_, folder) = output(rustc.args(["--print", "target-libdir", "--target", target]), advice)?;
        if !Path::new(folder.trim()).is_dir() {
            missing.push(target);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let alone = if architectures.len() > 1 { " (or build one architecture alone with --architecture)" } else { "" };
    Err(Failure(format!(
        "Rust's standard library for {} is missing.\nRun: rustup target add {}{alone}",
        missing.join(" and "),
        missing.join(" ")
    )))
}

fn build(architecture: Architecture, tools: &Environment) -> Result<PathBuf, Failure> {
    let target_folder = in_repository("target/lambda");
    let mut command = tools.program("cargo-lambda");
    command
        .args(["lambda", "build", "--release", "--locked", "--package", "handler", "--bin", "bootstrap"])
        .args(["--target", architecture.target()])
        // Its own would set panic = "abort", and a panic could not be answered any more; the workspace's profile optimizes.
        .arg("--disable-optimizations")
        // The target was looked up already, and cargo-lambda would ask rustup, which not everybody has.
        .arg("--skip-target-check")
        // Not --target-dir, which cargo-lambda does not heed everywhere.
        .env("CARGO_TARGET_DIR", &target_folder)
        .env("PATH", tools.search_path()?);
    run(&mut command, "cargo-lambda and zig come from PyPI: see tests/third-party/requirements/cargo-lambda.txt.")?;
    Ok(target_folder.join("lambda/bootstrap/bootstrap"))
}

/// The hub template with its code beside it.
fn write_template(dist: &Path, architecture: Architecture) -> Result<(), Failure> {
    const SOURCE: &str = "infra-templates/provider.yaml";
    let template =
        fs::read_to_string(in_repository(SOURCE)).map_err(|error| Failure(format!("cannot read {SOURCE}: {error}")))?;
    let path = dist.join("provider.yaml");
    fs::write(&path, adapted(&template, architecture)?)
        .map_err(|error| Failure(format!("cannot write {}: {error}", path.display())))?;
    println!("dist/provider.yaml");
    Ok(())
}

/// The template with each `Code` naming the artifact beside it, and the mapping `Artifact` saying what that is.
fn adapted(template: &str, architecture: Architecture) -> Result<String, Failure> {
    let mut replaced = [0; 3];
    let lines: Vec<String> = template
        .lines()
        .map(|line| {
            let values = [
                ("Code: ../dist/", architecture.artifact()),
                ("Architecture: ", architecture.name().to_owned()),
                ("Version: 0", env!("CARGO_PKG_VERSION").to_owned()),
            ];
            for (count, (begin, value)) in replaced.iter_mut().zip(values) {
                if line.trim_start().starts_with(begin) {
                    *count += 1;
                    let (key, _) = line.split_once(": ").unwrap_or((line, ""));
                    return format!("{key}: {value}");
                }
            }
            line.to_owned()
        })
        .collect();
    if replaced[0] == 0 || replaced[1..] != [1, 1] {
        return Err(Failure(
            "infra-templates/provider.yaml should have each Code as ../dist/…, and Version and Architecture once in its \
             mapping Artifact."
                .to_owned(),
        ));
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_refers_to_the_artifact_beside_it() {
        let template = fs::read_to_string(in_repository("infra-templates/provider.yaml")).expect("a template");
        for architecture in [Architecture::Arm64, Architecture::X86_64] {
            let adapted = adapted(&template, architecture).map_err(|Failure(why)| why).expect("adaptable");
            assert!(adapted.contains(&format!("\n      Code: {}\n", architecture.artifact())));
            assert!(adapted.contains(&format!("\n      Architecture: {}\n", architecture.name())));
            assert!(!adapted.contains("../dist"));
            assert_eq!(adapted.lines().count(), template.lines().count());
        }
    }

    #[test]
    fn a_template_without_the_places_to_fill_in_is_refused() {
        assert!(adapted("Resources: {}\n", Architecture::Arm64).is_err());
    }
}
