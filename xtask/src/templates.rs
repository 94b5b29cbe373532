//! Templates and the resource's schema, held against the linters that users have.
//!
//! cfn-lint comes in two versions: only those up to 1.42.0 check the properties of a `Custom::` resource against
//! `--registry-schemas`, and a current one knows the current resource types.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::Failure;
use crate::python::Environment;
use crate::run::{in_repository, output, run};

const RESOURCE_TYPE: &str = "provider-schema/custom-ecr-cleanup.json";

/// Checks the resource type's schema, the examples, the refused template and the templates that are deployed.
pub fn check() -> Result<(), Failure> {
    meta_schema()?;
    let registry = registry()?;
    let examples = templates("examples")?;
    let deployed = templates("infra-templates")?;
    let for_custom_resources = Environment::ready("cfn-lint-for-custom-resources")?;
    if !examples.is_empty() {
        println!("cfn-lint 1.42.0, with the schema of Custom::EcrCleanup: {}", names(&examples));
        let mut lint = for_custom_resources.program("cfn-lint");
        run(lint.arg("--registry-schemas").arg(&registry).arg("--").args(&examples), "Mend the examples.")?;
    }
    refused_template(&for_custom_resources, &registry)?;
    let all: Vec<PathBuf> = deployed.into_iter().chain(examples).collect();
    if !all.is_empty() {
        println!("cfn-lint 1.58.0: {}", names(&all));
        run(Environment::ready("cfn-lint")?.program("cfn-lint").arg("--").args(&all), "Mend the templates.")?;
    }
    Ok(())
}

/// The check that `cfn validate` makes.
fn meta_schema() -> Result<(), Failure> {
    println!("CloudFormation's meta-schema: {RESOURCE_TYPE}");
    let environment = Environment::ready("cloudformation-cli")?;
    run(
        environment.python().args(["tests/third-party/meta_schema.py", RESOURCE_TYPE]),
        "Shape the schema with a transform in provider-schema/src/schema.rs.",
    )
}

/// A folder with the resource type's schema alone, as cfn-lint wants it.
fn registry() -> Result<PathBuf, Failure> {
    let folder = in_repository("target/registry-schemas");
    fs::create_dir_all(&folder)
        .and_then(|()| fs::copy(in_repository(RESOURCE_TYPE), folder.join("custom-ecr-cleanup.json")))
        .map_err(|error| Failure(format!("cannot fill {}: {error}", folder.display())))?;
    Ok(folder)
}

/// The YAML files of a folder that are CloudFormation templates.
fn templates(folder: &str) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error: std::io::Error| Failure(format!("cannot read {folder}: {error}"));
    let mut found = Vec::new();
    if !in_repository(folder).exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(in_repository(folder)).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml")
            && fs::read_to_string(&path).map_err(unreadable)?.contains("AWSTemplateFormatVersion")
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn names(templates: &[PathBuf]) -> String {
    let names = templates.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy());
    names.collect::<Vec<_>>().join(", ")
}

/// A template in which each line that is wrong says so by the rule that finds it (`# E3002`): cfn-lint must find
/// exactly these.
fn refused_template(lint: &Environment, registry: &std::path::Path) -> Result<(), Failure> {
    const PATH: &str = "tests/third-party/refused.yaml";
    println!("cfn-lint 1.42.0, with the schema of Custom::EcrCleanup: {PATH}, which it must refuse");
    let template =
        fs::read_to_string(in_repository(PATH)).map_err(|error| Failure(format!("cannot read {PATH}: {error}")))?;
    let mut expected = BTreeSet::new();
    for (number, line) in (1..).zip(template.lines()) {
        let codes = line.split_once("# E").map(|(_, codes)| codes).unwrap_or_default();
        expected.extend(codes.split(" E").filter(|code| !code.is_empty()).map(|code| format!("{number}:E{code}")));
    }
    let mut command = lint.program("cfn-lint");
    command.args(["--format", "parseable", "--registry-schemas"]).arg(registry).args(["--", PATH]);
    let (_, found) = output(&mut command, "")?;
    // FILE:LINE:COLUMN:END LINE:END COLUMN:RULE:MESSAGE
    let found: BTreeSet<String> = found
        .lines()
        .filter_map(|line| {
            let parts: Vec<&str> = line.split(':').collect();
            Some(format!("{}:{}", parts.get(1)?, parts.get(5)?))
        })
        .collect();
    if found == expected && !expected.is_empty() {
        return Ok(());
    }
    Err(Failure(format!("{PATH} (line:rule)\nexpected {expected:?}\nfound    {found:?}")))
}
