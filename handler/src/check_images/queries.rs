//! The questions put to the aggregator, in the query language of AWS Config.
//!
//! # Guarantees
//! - Every expression has at most 4,096 characters; what does not fit is asked in several.
//! - Only the documented grammar is used: `SELECT`, `WHERE`, `=`, `IN`, `LIKE` with a wildcard at the end, `AND`, `OR`.
//! - No text gets into an expression but from types that were parsed, and even those pass [`literal`], which knows the
//!   letters that need no escaping. `_` is a wildcard of `LIKE`, so `LIKE` finds a superset and rows are matched in code.
//!
//! # Why these queries
//! Config's query rate is the scarce resource, so everything that a batch can share is one query:
//! - *users*: all services, task sets and rules that run a task definition, and all resources of other types that name an
//!   image of the hub's registries, in one query, as they are needed for every repository alike; the pattern `ACCOUNT.dkr%`
//!   covers every registry host of the account in every region. The coverage probes come with them: what is seen of an
//!   account and region counts only if its probe is seen, too.
//! - *task definitions*: everything that names one of the repositories at hand, three repositories an expression. Exact
//!   references would not do: in `NAME:TAG@DIGEST` the tag may be one that the image has no more, and nobody knows which
//!   that were. Nor are they cheaper, as an image has a dozen spellings of a hundred characters and an expression holds two
//!   or three images. The answer grows with a repository's history, by a page for each hundred revisions, for all images
//!   of the batch together.
//! - *everything*: both for all repositories at once, which is cheaper for a sweep.

use std::collections::BTreeSet;

use crate::account::AccountId;
use crate::repository::Repository;
use crate::task_definition::{Family, TaskDefinitionArn};

/// `Expression` of `SelectAggregateResourceConfig` has 1 to 4,096 characters.
const MAX_EXPRESSION: usize = 4096;

/// A resource type that runs task definitions, and where it names them.
pub struct TaskDefinitionRunner {
    /// The resource type as Config calls it.
    pub resource_type: &'static str,
    /// Where the task definition is named.
    pub task_definition_at: &'static str,
    /// Whether every such resource counts, or only those that name a task definition: rules have many kinds of targets.
    pub always: bool,
}

/// What runs a task definition, ACTIVE or not.
pub const TASK_DEFINITION_RUNNERS: &[TaskDefinitionRunner] = &[
    TaskDefinitionRunner { resource_type: SERVICE, task_definition_at: "configuration.TaskDefinition", always: true },
    TaskDefinitionRunner {
        resource_type: "AWS::ECS::TaskSet",
        task_definition_at: "configuration.TaskDefinition",
        always: true,
    },
    TaskDefinitionRunner {
        resource_type: "AWS::Events::Rule",
        task_definition_at: "configuration.Targets.EcsParameters.TaskDefinitionArn",
        always: false,
    },
];

/// The resource type of ECS services.
pub const SERVICE: &str = "AWS::ECS::Service";

/// The resource type of task definitions.
pub const TASK_DEFINITION: &str = "AWS::ECS::TaskDefinition";

/// A resource type other than those of ECS that uses images, and where it names them.
pub struct ImageUser {
    /// The resource type as Config calls it.
    pub resource_type: &'static str,
    /// Where image references stand.
    pub images_at: &'static [&'static str],
    /// Where the bare SHA-256 of an image stands, in hexadecimal or base64.
    pub digest_at: Option<&'static str>,
    /// Whether it keeps running what a tag meant when it was deployed, which nothing tells (SageMaker API reference,
    /// DeployedImage). Then no image of a repository that it names by a tag may go.
    pub pins: bool,
    /// A condition that holds for all resources of the type that use an image, if they do not name it by reference.
    pub only: Option<&'static str>,
}

/// Which resource type names an image where. A row more is all that another type needs: it is asked for, matched, and
/// every recorder has to record it.
pub const IMAGE_USERS: &[ImageUser] = &[
    ImageUser {
        resource_type: "AWS::AppRunner::Service",
        images_at: &["configuration.SourceConfiguration.ImageRepository.ImageIdentifier"],
        digest_at: None,
        pins: false,
        only: None,
    },
    ImageUser {
        resource_type: "AWS::SageMaker::Model",
        images_at: &["configuration.PrimaryContainer.Image", "configuration.Containers.Image"],
        digest_at: None,
        pins: true,
        only: None,
    },
    ImageUser {
        resource_type: "AWS::CodeBuild::Project",
        images_at: &["configuration.environment.image"],
        digest_at: None,
        pins: false,
        only: None,
    },
    ImageUser {
        resource_type: "AWS::Lambda::Function",
        images_at: &[],
        digest_at: Some("configuration.codeSha256"),
        pins: false,
        only: Some("configuration.packageType = 'Image'"),
    },
];

/// Every resource type that a recorder has to record for its account to count as covered.
pub fn needed_types() -> BTreeSet<&'static str> {
    std::iter::once(TASK_DEFINITION)
        .chain(TASK_DEFINITION_RUNNERS.iter().map(|runner| runner.resource_type))
        .chain(IMAGE_USERS.iter().map(|user| user.resource_type))
        .collect()
}

const REVISION: &str = "SELECT arn, accountId, awsRegion, configuration.Status, configuration.ContainerDefinitions.Image, \
     configurationItemCaptureTime WHERE resourceType = 'AWS::ECS::TaskDefinition' AND ";
const IMAGE: &str = "configuration.ContainerDefinitions.Image";

fn runner_conditions() -> String {
    TASK_DEFINITION_RUNNERS
        .iter()
        .map(|TaskDefinitionRunner { resource_type, task_definition_at, always }| {
            if *always {
                format!("resourceType = '{resource_type}'")
            } else {
                format!("(resourceType = '{resource_type}' AND {task_definition_at} LIKE 'arn:%')")
            }
        })
        .collect::<Vec<_>>()
        .join(" OR ")
}

fn user_conditions(hub: &AccountId) -> String {
    let mut conditions = Vec::new();
    for ImageUser { resource_type, images_at, only, .. } in IMAGE_USERS {
        // A LIKE that begins with the account id covers all of its registries, whatever the host's form and region.
        let named = images_at.iter().map(|at| format!("{at} LIKE '{hub}.dkr%'"));
        for condition in named.chain(only.map(str::to_owned)) {
            conditions.push(format!("(resourceType = '{resource_type}' AND {condition})"));
        }
    }
    conditions.join(" OR ")
}

fn columns_of(configuration: BTreeSet<&str>) -> String {
    let mut columns = vec!["resourceType", "resourceId", "arn", "accountId", "awsRegion"];
    columns.extend(configuration);
    columns.join(", ")
}

/// All ACTIVE revisions of these families, in whatever account.
pub fn active_revisions<'a>(families: impl IntoIterator<Item = &'a Family>) -> Result<Vec<String>, NotLiteral> {
    let families = families.into_iter().map(|family| literal(family.as_str())).collect::<Result<Vec<_>, _>>()?;
    let head = "SELECT arn, accountId, awsRegion, configuration.Status, configurationItemCaptureTime WHERE \
         resourceType = 'AWS::ECS::TaskDefinition' AND configuration.Status = 'ACTIVE' AND configuration.Family IN (";
    Ok(pack(head, &families, ", ", ")"))
}

/// Everything that uses images of the hub's registries or could run what uses them: task definitions of any status that name
/// such an image, and whatever [`users`] asks for.
pub fn everything(hub: &AccountId) -> String {
    let revisions = format!("(resourceType = '{TASK_DEFINITION}' AND {IMAGE} LIKE '{hub}.dkr%')");
    let mut columns = user_columns();
    columns.extend([IMAGE, "configuration.Status"]);
    let (runners, others) = (runner_conditions(), user_conditions(hub));
    format!("SELECT {}, configurationItemCaptureTime WHERE {revisions} OR {runners} OR {others}", columns_of(columns))
}

/// All services, task sets and rules that run a task definition, and all resources outside ECS that name an image of the hub's
/// registries.
pub fn users(hub: &AccountId) -> String {
    format!("SELECT {} WHERE {} OR {}", columns_of(user_columns()), runner_conditions(), user_conditions(hub))
}

/// The same, and the coverage probes of this family that the aggregator shows as ACTIVE: what is seen of an account and region
/// counts only if its probe is seen beside it.
///
/// # Errors
/// The family's name may not stand in a query.
pub fn users_and_probes(hub: &AccountId, family: &str) -> Result<String, NotLiteral> {
    let mut columns = user_columns();
    columns.extend(["configuration.Family", "configuration.Status"]);
    Ok(format!(
        "SELECT {}, configurationItemCaptureTime WHERE (resourceType = '{TASK_DEFINITION}' AND configuration.Family = {} AND \
         configuration.Status = 'ACTIVE') OR {} OR {}",
        columns_of(columns),
        literal(family)?,
        runner_conditions(),
        user_conditions(hub)
    ))
}

fn user_columns() -> BTreeSet<&'static str> {
    let mut columns = BTreeSet::from(["configuration.Cluster"]);
    columns.extend(TASK_DEFINITION_RUNNERS.iter().map(|runner| runner.task_definition_at));
    columns.extend(IMAGE_USERS.iter().flat_map(|user| user.images_at.iter().copied().chain(user.digest_at)));
    columns
}

/// Every recorder that is recorded itself.
pub fn recorders() -> &'static str {
    "SELECT arn, accountId, awsRegion, configuration.Recording WHERE resourceType = 'AWS::Config::ConfigurationRecorder'"
}

/// Task definitions by their ARNs, whatever they name.
pub fn revisions_by_arn<'a>(arns: impl IntoIterator<Item = &'a TaskDefinitionArn>) -> Result<Vec<String>, NotLiteral> {
    let arns = arns.into_iter().map(|arn| literal(&arn.to_string())).collect::<Result<Vec<_>, _>>()?;
    Ok(pack(&format!("{REVISION}arn IN ("), &arns, ", ", ")"))
}

/// The queries for the task definitions that name one of `repositories`, in whatever spelling, by whatever tag or digest.
/// What they find may name others: a pattern ends before the first `_` of a repository's name, as AWS does not say whether
/// it accepts that wildcard inside one.
pub fn naming<'a>(repositories: impl IntoIterator<Item = &'a Repository>) -> Result<Vec<String>, NotLiteral> {
    let mut conditions = Vec::new();
    for name in repositories.into_iter().flat_map(Repository::spellings) {
        match name.split_once('_') {
            None => conditions.extend(namings(&name)?),
            Some((begin, _)) => conditions.push(format!("{IMAGE} LIKE {}", prefix_literal(begin)?)),
        }
    }
    Ok(pack(&format!("{REVISION}("), &conditions, " OR ", ")"))
}

/// The conditions on which an image is of the repository that is spelled so.
fn namings(name: &str) -> Result<[String; 3], NotLiteral> {
    Ok([
        format!("{IMAGE} = {}", literal(name)?),
        format!("{IMAGE} LIKE {}", prefix_literal(&format!("{name}:"))?),
        format!("{IMAGE} LIKE {}", prefix_literal(&format!("{name}@"))?),
    ])
}

/// Text that may not stand in a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot stand in a query")]
pub struct NotLiteral {
    text: String,
}

/// A quoted literal of a text that needs no escaping, which Config does not document.
fn literal(text: &str) -> Result<String, NotLiteral> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@+=".contains(c);
    if text.is_empty() || !text.chars().all(plain) {
        return Err(NotLiteral { text: text.to_owned() });
    }
    Ok(format!("'{text}'"))
}

/// A pattern for `LIKE`: the text with a wildcard at its end, which has to follow at least three characters.
fn prefix_literal(text: &str) -> Result<String, NotLiteral> {
    let quoted = literal(text)?;
    if text.len() < 3 {
        return Err(NotLiteral { text: text.to_owned() });
    }
    Ok(format!("{}%'", &quoted[..quoted.len() - 1]))
}

/// As few expressions as hold all items: `head item separator item … tail`.
fn pack(head: &str, items: &[String], separator: &str, tail: &str) -> Vec<String> {
    let mut expressions: Vec<String> = Vec::new();
    for item in items {
        match expressions.last_mut() {
            Some(last) if last.len() + separator.len() + item.len() + tail.len() <= MAX_EXPRESSION => {
                last.push_str(separator);
                last.push_str(item);
            }
            _ => expressions.push(format!("{head}{item}")),
        }
    }
    for expression in &mut expressions {
        expression.push_str(tail);
    }
    expressions
}

#[cfg(test)]
mod tests;
