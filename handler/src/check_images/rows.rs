//! Rows of the aggregator's answers, read strictly.
//!
//! A row that is not exactly what was asked for is an error, never "no use": whoever reads it has to call the evidence
//! missing. Only an absent property is not an error by itself, because AWS Config leaves out what a resource does not have.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::queries::{IMAGE_USERS, SERVICE, TASK_DEFINITION, TASK_DEFINITION_RUNNERS};
use super::usage::{OtherUser, Revision, RevisionStatus, Runner};
use crate::account::AccountId;
use crate::image::{Digest, ImageReference};
use crate::region::Region;
use crate::task_definition::TaskDefinitionArn;
use crate::text::Quoted;

/// What a row tells of.
#[derive(Debug)]
pub enum Seen {
    /// A revision of a task definition.
    Revision(Revision),
    /// Something that runs task definitions.
    Runner(Runner),
    /// Something else that uses images.
    OtherUser(OtherUser),
    /// A coverage probe in this account and region that is ACTIVE, and since when.
    Probe((AccountId, Region), Timestamp),
    /// Something in this account and region that cannot be read, and why.
    Unreadable((AccountId, Region), String),
}

/// One row: a JSON object in a string, as the aggregator answers.
#[derive(Debug)]
pub struct Row(Value);

impl Row {
    /// Reads a row's text.
    ///
    /// # Errors
    /// It is not a JSON object.
    pub fn parse(text: &str) -> Result<Self, String> {
        match serde_json::from_str(text) {
            Ok(row @ Value::Object(_)) => Ok(Self(row)),
            _ => Err(format!("a row of the aggregator is not a JSON object: {}", Quoted::of(text))),
        }
    }

    /// Every text at a dotted path, through arrays.
    fn texts(&self, path: &str) -> Result<Vec<&str>, String> {
        let mut values = vec![&self.0];
        for name in path.split('.') {
            let mut next = Vec::new();
            for value in values {
                match value {
                    Value::Object(members) => next.extend(members.get(name)),
                    Value::Null => {}
                    _ => return Err(self.unreadable(path)),
                }
            }
            values = next.into_iter().flat_map(elements).collect();
        }
        values
            .into_iter()
            .filter(|value| !value.is_null())
            .map(|value| value.as_str().ok_or_else(|| self.unreadable(path)))
            .collect()
    }

    fn optional(&self, path: &str) -> Result<Option<&str>, String> {
        match self.texts(path)?[..] {
            [] => Ok(None),
            [text] => Ok(Some(text)),
            _ => Err(self.unreadable(path)),
        }
    }

    fn required(&self, path: &str) -> Result<&str, String> {
        self.optional(path)?.ok_or_else(|| self.unreadable(path))
    }

    fn parsed<T: std::str::FromStr>(&self, path: &str) -> Result<T, String> {
        self.required(path)?.parse().map_err(|_| self.unreadable(path))
    }

    fn unreadable(&self, path: &str) -> String {
        format!("{path} cannot be read in a row of the aggregator: {}", Quoted::of(&self.0.to_string()))
    }

    /// The account and region of the row.
    pub fn place(&self) -> Result<(AccountId, Region), String> {
        Ok((self.parsed("accountId")?, self.parsed("awsRegion")?))
    }

    /// The row as a revision of a task definition; images outside the hub's registries are left out.
    pub fn revision(&self, hub: &AccountId) -> Result<Revision, String> {
        let arn: TaskDefinitionArn = self.parsed("arn")?;
        if self.place()? != (arn.account.clone(), arn.region.clone()) {
            return Err(self.unreadable("arn"));
        }
        let images = self.texts("configuration.ContainerDefinitions.Image")?;
        if images.is_empty() {
            return Err(self.unreadable("configuration.ContainerDefinitions.Image"));
        }
        let captured: Timestamp = self.parsed("configurationItemCaptureTime")?;
        Ok(Revision {
            arn,
            status: match self.required("configuration.Status")? {
                "ACTIVE" => RevisionStatus::Active,
                "INACTIVE" | "DELETE_IN_PROGRESS" => RevisionStatus::Inactive,
                _ => return Err(self.unreadable("configuration.Status")),
            },
            images: hub_images(images, hub)?,
            captured_at: Some(captured),
        })
    }

    /// The row as the ARN of an ACTIVE revision, and when Config captured its latest change.
    pub fn active_revision(&self) -> Result<(TaskDefinitionArn, Timestamp), String> {
        let arn: TaskDefinitionArn = self.parsed("arn")?;
        let active = self.required("configuration.Status")? == "ACTIVE";
        if self.place()? == (arn.account.clone(), arn.region.clone()) && active {
            Ok((arn, self.parsed("configurationItemCaptureTime")?))
        } else {
            Err(self.unreadable("arn"))
        }
    }

    /// The row of a query for several kinds of resources; if it cannot be read, where it is.
    ///
    /// # Errors
    /// Not even that can be read.
    pub fn seen_or_unreadable(&self, hub: &AccountId) -> Result<Seen, String> {
        self.seen(hub).or_else(|text| Ok(Seen::Unreadable(self.place()?, text)))
    }

    /// The same, of a query in which task definitions are coverage probes of this family.
    ///
    /// # Errors
    /// The same.
    pub fn seen_or_probe(&self, hub: &AccountId, family: &str) -> Result<Seen, String> {
        if self.required("resourceType")? != TASK_DEFINITION {
            return self.seen_or_unreadable(hub);
        }
        let place = self.place()?;
        match self.active_probe(family) {
            Ok(since) => Ok(Seen::Probe(place, since)),
            Err(text) => Ok(Seen::Unreadable(place, text)),
        }
    }

    /// The row of a query for several kinds of resources, as what it is.
    pub fn seen(&self, hub: &AccountId) -> Result<Seen, String> {
        let resource_type = self.required("resourceType")?;
        if resource_type == TASK_DEFINITION {
            self.revision(hub).map(Seen::Revision)
        } else if TASK_DEFINITION_RUNNERS.iter().any(|runner| runner.resource_type == resource_type) {
            self.runner().map(Seen::Runner)
        } else {
            self.other_user(hub).map(Seen::OtherUser)
        }
    }

    /// The row as something that runs task definitions.
    pub fn runner(&self) -> Result<Runner, String> {
        let (account, region) = self.place()?;
        let resource_type = self.required("resourceType")?;
        let runner = TASK_DEFINITION_RUNNERS
            .iter()
            .find(|runner| runner.resource_type == resource_type)
            .ok_or_else(|| self.unreadable("resourceType"))?;
        let mut task_definitions = Vec::new();
        for text in self.texts(runner.task_definition_at)? {
            match text.parse::<TaskDefinitionArn>() {
                Ok(arn) => task_definitions.push(arn),
                // A rule may name the family alone. That starts the latest ACTIVE revision, which is a use by itself.
                Err(_) if format!("{text}:1").parse::<TaskDefinitionArn>().is_ok() => {}
                Err(_) => return Err(self.unreadable(runner.task_definition_at)),
            }
        }
        // A service whose tasks somebody else deploys has none of its own; its task sets do.
        if self.texts(runner.task_definition_at)?.is_empty() && resource_type != SERVICE {
            return Err(self.unreadable(runner.task_definition_at));
        }
        Ok(Runner {
            resource_type: runner.resource_type,
            is_service: runner.resource_type == SERVICE,
            account,
            region,
            resource: self.name()?,
            cluster: self.optional("configuration.Cluster")?.map(str::to_owned),
            task_definitions,
        })
    }

    /// The row as a user of images outside ECS.
    pub fn other_user(&self, hub: &AccountId) -> Result<OtherUser, String> {
        let (account, region) = self.place()?;
        let resource_type = self.required("resourceType")?;
        let user = IMAGE_USERS
            .iter()
            .find(|user| user.resource_type == resource_type)
            .ok_or_else(|| self.unreadable("resourceType"))?;
        let mut texts = Vec::new();
        for path in user.images_at {
            texts.extend(self.texts(path)?);
        }
        // It was asked for because it names an image.
        if texts.is_empty() && user.digest_at.is_none() {
            return Err(self.unreadable(user.images_at.first().copied().unwrap_or("configuration")));
        }
        let images = hub_images(texts, hub)?;
        let resource = self.name()?;
        let (mut digests, mut unreadable) = (Vec::new(), None);
        if let Some(path) = user.digest_at {
            match self.texts(path)?.into_iter().map(hashed).collect::<Option<Vec<_>>>() {
                Some(known) if !known.is_empty() => digests = known,
                _ => unreadable = Some(format!("{resource} in account {account}: {}", self.unreadable(path))),
            }
        }
        let (resource_type, pins) = (user.resource_type, user.pins);
        Ok(OtherUser { resource_type, account, region, resource, images, digests, pins, unreadable })
    }

    /// Whether the row is a recorder that does not record.
    pub fn recorder_stopped(&self) -> Result<bool, String> {
        match self.0.pointer("/configuration/Recording") {
            Some(Value::Bool(recording)) => Ok(!recording),
            Some(Value::String(recording)) => recording
                .to_ascii_lowercase()
                .parse::<bool>()
                .map(|recording| !recording)
                .map_err(|_| self.unreadable("configuration.Recording")),
            // The item exists but does not say; the account itself is asked anyway.
            None => Ok(false),
            Some(_) => Err(self.unreadable("configuration.Recording")),
        }
    }

    /// Since when the row, which is the ACTIVE task definition of this family, shows it so.
    fn active_probe(&self, family: &str) -> Result<Timestamp, String> {
        if self.required("configuration.Family")? != family || self.required("configuration.Status")? != "ACTIVE" {
            return Err(self.unreadable("configuration.Family"));
        }
        self.parsed("configurationItemCaptureTime")
    }

    fn name(&self) -> Result<String, String> {
        match self.optional("arn")? {
            Some(arn) => Ok(arn.to_owned()),
            None => self.required("resourceId").map(str::to_owned),
        }
    }
}

/// The digest that a SHA-256 in hexadecimal or base64 makes. Lambda writes archives in base64 and images in hexadecimal, and
/// AWS does not say that Config follows it.
fn hashed(hash: &str) -> Option<Digest> {
    if let Ok(digest) = format!("sha256:{}", hash.to_ascii_lowercase()).parse() {
        return Some(digest);
    }
    let bytes = aws_smithy_types::base64::decode(hash).ok().filter(|bytes| bytes.len() == 32)?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}").parse().ok()
}

fn elements(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(elements) => elements.iter().flat_map(self::elements).collect(),
        other => vec![other],
    }
}

/// The references among `texts` that name images of the hub's registries.
///
/// # Errors
/// A text that seems to name one of the hub's registries but cannot be read.
pub fn hub_images<'a>(
    texts: impl IntoIterator<Item = &'a str>,
    hub: &AccountId,
) -> Result<Vec<ImageReference>, String> {
    let mut images = Vec::new();
    for text in texts {
        match text.parse::<ImageReference>() {
            Ok(reference) if reference.repository().registry.account == *hub => images.push(reference),
            Ok(_) => {}
            Err(error) if text.to_ascii_lowercase().contains(&format!("{hub}.dkr")) => return Err(error.to_string()),
            Err(_) => {}
        }
    }
    Ok(images)
}

/// Rows of several kinds, each kind by itself.
#[derive(Debug, Default)]
pub struct Rows {
    /// What runs task definitions.
    pub runners: Vec<Runner>,
    /// What uses images otherwise.
    pub other_users: Vec<OtherUser>,
    /// Revisions of task definitions.
    pub revisions: Vec<Revision>,
    /// Where a coverage probe is ACTIVE, and since when the oldest.
    pub probes: BTreeMap<(AccountId, Region), Timestamp>,
    /// Where something cannot be read, and why.
    pub unreadable: BTreeMap<(AccountId, Region), String>,
}

impl FromIterator<Seen> for Rows {
    fn from_iter<T: IntoIterator<Item = Seen>>(seen: T) -> Self {
        let mut rows = Self::default();
        for row in seen {
            match row {
                Seen::Runner(runner) => rows.runners.push(runner),
                Seen::OtherUser(user) => rows.other_users.push(user),
                Seen::Revision(revision) => rows.revisions.push(revision),
                Seen::Probe(place, since) => {
                    let known = rows.probes.entry(place).or_insert(since);
                    *known = since.min(*known);
                }
                Seen::Unreadable(place, text) => {
                    rows.unreadable.insert(place, text);
                }
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hub() -> AccountId {
        "111111111111".parse().unwrap()
    }

    fn revision_row() -> Value {
        json!({
            "arn": "arn:aws:ecs:eu-west-1:222222222222:task-definition/shop:3",
            "accountId": "222222222222",
            "awsRegion": "eu-west-1",
            "configurationItemCaptureTime": "2026-11-01T10:00:00.000Z",
            "configuration": {"Status": "INACTIVE", "ContainerDefinitions": [
                {"Image": "111111111111.dkr.ecr.eu-west-1.amazonaws.com/shop:v1"},
                {"Image": "public.ecr.aws/nginx/nginx:1"},
            ]},
        })
    }

    fn row(value: &Value) -> Row {
        Row::parse(&value.to_string()).unwrap()
    }

    #[test]
    fn a_revision_is_read_with_its_images_of_the_hub() {
        let revision = row(&revision_row()).revision(&hub()).unwrap();
        assert_eq!(revision.status, RevisionStatus::Inactive);
        assert_eq!(revision.images.len(), 1);
        assert_eq!(revision.captured_at, Some("2026-11-01T10:00:00Z".parse().unwrap()));
    }

    #[test]
    fn a_revision_that_lacks_anything_is_an_error() {
        for (pointer, value) in [
            ("/arn", json!("arn:aws:ecs:eu-west-1:222222222222:task-definition/shop")),
            ("/arn", json!("arn:aws:ecs:eu-west-1:333333333333:task-definition/shop:3")),
            ("/accountId", Value::Null),
            ("/awsRegion", json!(7)),
            ("/configurationItemCaptureTime", json!("yesterday")),
            ("/configuration", json!("{}")),
            ("/configuration/Status", Value::Null),
            ("/configuration/Status", json!("Active")),
            ("/configuration/ContainerDefinitions", json!([])),
            ("/configuration/ContainerDefinitions", json!("[]")),
            (
                "/configuration/ContainerDefinitions/0/Image",
                json!("111111111111.dkr.ecr.eu-west-1.amazonaws.com/shop:"),
            ),
        ] {
            let mut changed = revision_row();
            *changed.pointer_mut(pointer).unwrap() = value.clone();
            assert!(row(&changed).revision(&hub()).is_err(), "{pointer} = {value}");
        }
        assert!(Row::parse("[]").is_err());
        assert!(Row::parse("{").is_err());
    }

    #[test]
    fn runners_are_read_where_their_type_names_the_task_definition() {
        let arn = "arn:aws:ecs:eu-west-1:222222222222:task-definition/shop:3";
        let place = |mut row: Value| {
            row["accountId"] = json!("222222222222");
            row["awsRegion"] = json!("eu-west-1");
            row["arn"] = json!("arn:x");
            row
        };
        let service = place(json!({"resourceType": SERVICE, "configuration": {"TaskDefinition": arn, "Cluster": "c"}}));
        let rule = place(json!({"resourceType": "AWS::Events::Rule", "configuration": {"Targets": [
            {"Arn": "x"}, {"EcsParameters": {"TaskDefinitionArn": arn}},
            {"EcsParameters": {"TaskDefinitionArn": "arn:aws:ecs:eu-west-1:222222222222:task-definition/shop"}},
        ]}}));
        for value in [&service, &rule] {
            assert_eq!(row(value).runner().unwrap().task_definitions, [arn.parse().unwrap()], "{value}");
        }
        let odd = place(json!({"resourceType": SERVICE, "configuration": {"TaskDefinition": "shop"}}));
        assert!(row(&odd).runner().is_err());
    }

    #[test]
    fn a_row_without_what_it_was_asked_for_is_unreadable_where_it_is() {
        let place = json!({"accountId": "222222222222", "awsRegion": "eu-west-1", "arn": "arn:x", "configuration": {}});
        let read = |resource_type: &str| {
            let mut value = place.clone();
            value["resourceType"] = json!(resource_type);
            row(&value).seen_or_unreadable(&hub()).unwrap()
        };
        for lacking in ["AWS::ECS::TaskSet", "AWS::Events::Rule", "AWS::CodeBuild::Project", "AWS::SageMaker::Model"] {
            assert!(matches!(read(lacking), Seen::Unreadable((account, _), _) if account.as_str() == "222222222222"));
        }
        assert!(matches!(read(SERVICE), Seen::Runner(_)), "its task sets have the task definitions");
        assert!(row(&json!({"resourceType": SERVICE})).seen_or_unreadable(&hub()).is_err(), "it may be anywhere");
    }

    #[test]
    fn the_other_users_of_the_table_are_read() {
        let image = "111111111111.dkr-ecr.eu-west-1.on.aws/shop@sha256:\
            aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        for (resource_type, configuration) in [
            (
                "AWS::AppRunner::Service",
                json!({"SourceConfiguration": {"ImageRepository": {"ImageIdentifier": image}}}),
            ),
            ("AWS::SageMaker::Model", json!({"PrimaryContainer": {"Image": image}})),
            ("AWS::SageMaker::Model", json!({"Containers": [{"Image": image}]})),
            ("AWS::CodeBuild::Project", json!({"environment": {"image": image}})),
            ("AWS::Lambda::Function", json!({"codeSha256": "a".repeat(64)})),
        ] {
            let value = json!({"resourceType": resource_type, "resourceId": "x", "accountId": "222222222222",
                "awsRegion": "eu-west-1", "configuration": configuration});
            let user = row(&value).other_user(&hub()).unwrap();
            assert_eq!((user.images.len() + user.digests.len(), user.unreadable), (1, None), "{value}");
        }
    }

    #[test]
    fn the_hash_of_a_function_is_hexadecimal_or_base64_and_anything_else_is_not_known() {
        let function = |hash: Value| {
            let value = json!({"resourceType": "AWS::Lambda::Function", "resourceId": "x", "accountId": "222222222222",
                "awsRegion": "eu-west-1", "configuration": {"codeSha256": hash}});
            row(&value).other_user(&hub()).unwrap()
        };
        let digest: Digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        let base64 = aws_smithy_types::base64::encode([0xab; 32]);
        for hash in ["ab".repeat(32), "AB".repeat(32), base64] {
            let user = function(json!(hash));
            assert_eq!((user.digests, user.unreadable), (vec![digest.clone()], None), "{hash}");
        }
        for hash in [json!(null), json!(""), json!("abab"), json!("q6ur"), json!(format!("{digest}x"))] {
            let user = function(hash.clone());
            assert!(user.digests.is_empty(), "{hash}");
            assert!(user.unreadable.is_some_and(|text| text.contains("configuration.codeSha256")), "{hash}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_row_panics(text: String, json in "[{}\\[\\]\",:a-z0-9]{0,60}") {
            for text in [text, json] {
                if let Ok(row) = Row::parse(&text) {
                    let _ = (row.revision(&hub()), row.runner(), row.other_user(&hub()), row.recorder_stopped());
                }
            }
        }
    }
}
