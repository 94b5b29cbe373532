//! Events that tell of a change to an ECS task definition.
//!
//! ECS itself announces none, so there are two sources: CloudTrail's record of the API call, and AWS Config's new
//! configuration item. Both come late, twice, out of order or never; what they have in common is that the images they
//! name are worth a look one rollback window later.
//!
//! Promises: the sources are told apart by their fields; nothing of an event is handed on but references that parsed;
//! an event that names no image says why.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use crate::image::{ImageReference, ImageReferenceError};
use crate::settings::Event;
use crate::text::Quoted;

/// What a task definition event says.
#[derive(Debug, PartialEq)]
pub enum TaskDefinitionEvent {
    /// The images of all containers of all task definitions it is about.
    Images {
        /// Those in an ECR registry, of whatever account.
        references: BTreeSet<ImageReference>,
        /// The others, and why they are none.
        refused: Vec<ImageReferenceError>,
    },
    /// It names no image.
    NoImages(NoImages),
}

/// Why a task definition event names no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoImages {
    /// The API call failed, so that nothing changed.
    FailedCall(Quoted),
    /// CloudTrail left out or cut the answer of the call because it was too large.
    Truncated,
    /// Config says that the task definition is gone, and no longer what it was.
    Deleted,
    /// Config left out the configuration because it was too large.
    Oversized,
}

impl fmt::Display for NoImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailedCall(code) => write!(f, "the API call failed with {code}"),
            Self::Truncated => f.write_str("CloudTrail left out or cut the answer of the API call"),
            Self::Deleted => f.write_str("the configuration item of a deleted task definition has no configuration"),
            Self::Oversized => f.write_str("the configuration item is too large for an event"),
        }
    }
}

/// Why an event is no task definition event.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum TaskDefinitionEventError {
    /// It has the fields of neither source.
    #[error("event {0} is neither CloudTrail's record of an ECS call nor a configuration item")]
    NeitherSource(Quoted),
    /// CloudTrail's record of a call that changes no task definition.
    #[error("event {event} records the API call {call}, which changes no task definition")]
    OtherCall {
        /// The event's id.
        event: Quoted,
        /// The call.
        call: Quoted,
    },
    /// A configuration item of something else.
    #[error("event {event} is about a resource of type {resource_type}")]
    OtherResource {
        /// The event's id.
        event: Quoted,
        /// The type.
        resource_type: Quoted,
    },
    /// A field has another type than it should have.
    #[error("event {event} has no readable {field}")]
    Malformed {
        /// The event's id.
        event: Quoted,
        /// The field.
        field: &'static str,
    },
}

impl TaskDefinitionEvent {
    /// Reads an event.
    ///
    /// # Errors
    /// It is none of either source, or has not their form.
    pub fn read(event: &Event) -> Result<Self, TaskDefinitionEventError> {
        let detail = &event.detail;
        if detail["eventSource"] == "ecs.amazonaws.com" {
            Self::read_call(event)
        } else if detail["messageType"].is_string() {
            Self::read_item(event)
        } else {
            Err(TaskDefinitionEventError::NeitherSource(Quoted::of(&event.id)))
        }
    }

    /// CloudTrail's record of an API call.
    fn read_call(event: &Event) -> Result<Self, TaskDefinitionEventError> {
        let detail = &event.detail;
        let several = match detail["eventName"].as_str() {
            Some("RegisterTaskDefinition" | "DeregisterTaskDefinition") => false,
            Some("DeleteTaskDefinitions") => true,
            call => {
                let call = Quoted::of(call.unwrap_or_default());
                return Err(TaskDefinitionEventError::OtherCall { event: Quoted::of(&event.id), call });
            }
        };
        if let Some(code) = detail["errorCode"].as_str() {
            return Ok(Self::NoImages(NoImages::FailedCall(Quoted::of(code))));
        }
        let answer = &detail["responseElements"];
        let definitions = match several {
            true => answer["taskDefinitions"].as_array().map(Vec::as_slice),
            false => answer.get("taskDefinition").map(std::slice::from_ref),
        };
        let images = definitions.and_then(|all| images(all, "containerDefinitions", "image"));
        Ok(images.map_or(Self::NoImages(NoImages::Truncated), Self::parsed))
    }

    /// Config's item.
    fn read_item(event: &Event) -> Result<Self, TaskDefinitionEventError> {
        let detail = &event.detail;
        let malformed = |field| TaskDefinitionEventError::Malformed { event: Quoted::of(&event.id), field };
        let oversized = match detail["messageType"].as_str() {
            Some("ConfigurationItemChangeNotification") => false,
            Some("OversizedConfigurationItemChangeNotification") => true,
            _ => return Err(malformed("detail.messageType")),
        };
        let item = &detail[if oversized { "configurationItemSummary" } else { "configurationItem" }];
        match item["resourceType"].as_str() {
            Some("AWS::ECS::TaskDefinition") => {}
            Some(other) => {
                let resource_type = Quoted::of(other);
                return Err(TaskDefinitionEventError::OtherResource { event: Quoted::of(&event.id), resource_type });
            }
            None => return Err(malformed("resourceType")),
        }
        if oversized {
            return Ok(Self::NoImages(NoImages::Oversized));
        }
        let configuration = &item["configuration"];
        if configuration.is_null() {
            let deleted = item["configurationItemStatus"].as_str().is_some_and(|s| s.starts_with("ResourceDeleted"));
            let no_images = Ok(Self::NoImages(NoImages::Deleted));
            return if deleted { no_images } else { Err(malformed("detail.configurationItem.configuration")) };
        }
        images(std::slice::from_ref(configuration), "ContainerDefinitions", "Image")
            .map(Self::parsed)
            .ok_or_else(|| malformed("detail.configurationItem.configuration.ContainerDefinitions"))
    }

    fn parsed(images: BTreeSet<&str>) -> Self {
        let (mut references, mut refused) = (BTreeSet::new(), Vec::new());
        for image in images {
            match image.parse() {
                Ok(reference) => drop(references.insert(reference)),
                Err(error) => refused.push(error),
            }
        }
        Self::Images { references, refused }
    }
}

/// The images of all containers; none if anything is not there or not as it should be.
fn images<'a>(definitions: &'a [Value], containers: &str, image: &str) -> Option<BTreeSet<&'a str>> {
    let containers = definitions.iter().map(|definition| definition.get(containers)?.as_array());
    let containers: Vec<&Vec<Value>> = containers.collect::<Option<_>>()?;
    containers.into_iter().flatten().map(|container| container.get(image)?.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = "111111111111.dkr.ecr.eu-west-1.amazonaws.com/team/api:1.4.2";
    const PROXY: &str = "111111111111.dkr.ecr.eu-west-1.amazonaws.com/team/proxy@sha256:\
                         0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const JOBS: &str = "111111111111.dkr.ecr.eu-west-1.amazonaws.com/team/jobs";

    fn fixture(name: &str) -> Event {
        let path = format!("{}/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    #[test]
    fn every_form_is_read_for_the_images_of_every_container() {
        for (name, expected) in [
            ("cloudtrail-register", vec![API, PROXY]),
            ("cloudtrail-deregister", vec![API, PROXY]),
            ("cloudtrail-delete", vec![API, JOBS]),
            ("config-new", vec![API, PROXY]),
            ("config-inactive", vec![API, PROXY]),
        ] {
            let TaskDefinitionEvent::Images { references, refused } =
                TaskDefinitionEvent::read(&fixture(name)).unwrap()
            else {
                panic!("{name} names images")
            };
            let found: BTreeSet<String> = references.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected.into_iter().map(str::to_owned).collect(), "{name}");
            let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
            assert_eq!(
                refused,
                [r#"image "public.ecr.aws/docker/library/redis:7" is not in an ECR registry"#],
                "{name}"
            );
        }
    }

    #[test]
    fn a_form_without_images_says_why() {
        for (name, expected) in [
            ("cloudtrail-failed-call", NoImages::FailedCall(Quoted::of("ClientException"))),
            ("cloudtrail-omitted", NoImages::Truncated),
            ("cloudtrail-truncated", NoImages::Truncated),
            ("config-deleted", NoImages::Deleted),
            ("config-oversized", NoImages::Oversized),
        ] {
            let read = TaskDefinitionEvent::read(&fixture(name)).unwrap();
            assert_eq!(read, TaskDefinitionEvent::NoImages(expected), "{name}");
        }
    }

    #[test]
    fn other_events_are_refused_with_the_reason() {
        let changed = |change: &dyn Fn(&mut Value), from: &str| {
            let mut event = fixture(from);
            change(&mut event.detail);
            TaskDefinitionEvent::read(&event).unwrap_err().to_string()
        };
        let call = "cloudtrail-register";
        let item = "config-new";
        assert!(changed(&|d| *d = Value::Null, call).contains("neither"));
        assert!(changed(&|d| *d = "text".into(), call).contains("neither"));
        assert!(changed(&|d| d["eventSource"] = "ec2.amazonaws.com".into(), call).contains("neither"));
        assert!(changed(&|d| d["eventName"] = "RunTask".into(), call).contains("RunTask"));
        assert!(changed(&|d| d["messageType"] = "Other".into(), item).contains("messageType"));
        let other = |d: &mut Value| d["configurationItem"]["resourceType"] = "AWS::ECS::Service".into();
        assert!(changed(&other, item).contains("AWS::ECS::Service"));
        assert!(changed(&|d| d["configurationItem"]["configuration"] = Value::Null, item).contains("configuration"));
        let no_containers = |d: &mut Value| d["configurationItem"]["configuration"] = serde_json::json!({});
        assert!(changed(&no_containers, item).contains("ContainerDefinitions"));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_values_anywhere_never_panic(value in arbitrary_json(), at in 0usize..12, form in 0usize..2) {
            let mut event = fixture(["cloudtrail-delete", "config-inactive"][form]);
            let pointers = ["", "/eventSource", "/eventName", "/errorCode", "/responseElements",
                "/responseElements/taskDefinitions", "/responseElements/taskDefinitions/0/containerDefinitions/0/image",
                "/messageType", "/configurationItem", "/configurationItem/resourceType",
                "/configurationItem/configuration", "/configurationItem/configuration/ContainerDefinitions/0"];
            if let Some(place) = event.detail.pointer_mut(pointers[at]) {
                *place = value;
            }
            let _ = TaskDefinitionEvent::read(&event);
        }
    }

    fn arbitrary_json() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-zA-Z]{1,8}", inner, 0..4).prop_map(Value::from_iter),
            ]
        })
    }
}
