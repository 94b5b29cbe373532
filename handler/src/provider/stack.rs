//! The stack that a request belongs to: whether CloudFormation still waits for what the request asks.
//!
//! A delivery may come late: again after a crash, once more after its answer, or out of a schedule. By then the stack may be
//! rolled back, deleted or updated again, and doing what was asked would undo what was asked since. CloudFormation itself knows:
//! the status of the stack and of the resource in it, and since when. When the request was sent tells the signature of its
//! response URL.
//!
//! # Assumptions
//! `LastUpdatedTime` of a stack is when its last update began, and a resource's timestamp when its status changed last
//! (CloudFormation API reference, Stack and StackResource). What is not told is not taken for a reason to give up.
//!
//! # Caveats
//! What came within seconds after a request was sent cannot be told from it by time. So an Update that failed at once, and is
//! delivered again while its own reverse is under way, is not known for what it is.

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use futures::future::join;
use jiff::{SignedDuration, Timestamp};

use super::request::{Request, RequestType};
use super::step::{StepError, failed};

/// By how much clocks of CloudFormation may differ, and a signature is cut to whole seconds.
const SKEW: SignedDuration = SignedDuration::from_secs(10);
/// In which time CloudFormation has taken an answer.
const SETTLES: SignedDuration = SignedDuration::from_mins(5);

/// A stack, and the resource of a request in it.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) status: String,
    /// When the stack's last operation began.
    began: Option<Timestamp>,
    resource: Option<Resource>,
}

/// The resource of a request.
#[derive(Debug, Clone)]
struct Resource {
    status: String,
    changed: Option<Timestamp>,
    physical_id: Option<String>,
}

/// What is known of a request beside itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// When it was sent.
    pub(super) sent: Option<Timestamp>,
    /// When it was answered.
    pub(super) answered: Option<Timestamp>,
    /// When the resource's status changed last, at the first look after the answer was taken.
    pub(super) settled: Option<Timestamp>,
    /// The stack's status at the first look. While CloudFormation waits for the answer it does not change.
    pub(super) status: Option<&'a str>,
    /// The id of the resource that the request leads to.
    pub(super) physical_id: &'a str,
}

/// A time of the SDK.
fn time(at: Option<&aws_sdk_cloudformation::primitives::DateTime>) -> Option<Timestamp> {
    at.and_then(|at| Timestamp::from_nanosecond(at.as_nanos()).ok())
}

/// Looks at the stack and at the resource.
pub(super) async fn look(client: &Client, request: &Request) -> Result<Look, StepError> {
    let call = "cloudformation:DescribeStacks";
    let listed_by = "cloudformation:DescribeStackResources";
    let (id, logical_id) = (&request.stack_id, &request.logical_id);
    let listed = client.describe_stack_resources().stack_name(id).logical_resource_id(logical_id).send();
    let (described, listed) = join(client.describe_stacks().stack_name(id).send(), listed).await;
    let described = described.map_err(failed(call, id))?;
    let stack = described.stacks().first().ok_or(StepError::Answer { call, what: "the stack" })?;
    let status = stack.stack_status().ok_or(StepError::Answer { call, what: "a status" })?.as_str().to_owned();
    let began = time(stack.last_updated_time()).max(time(stack.creation_time()));
    let resource = match listed {
        Ok(listed) => listed.stack_resources().first().map(|resource| Resource {
            status: resource.resource_status().map(|status| status.as_str().to_owned()).unwrap_or_default(),
            changed: time(resource.timestamp()),
            physical_id: resource.physical_resource_id().map(str::to_owned),
        }),
        // A stack has, or does not have yet, such a resource.
        Err(error) if error.code() == Some("ValidationError") => None,
        Err(error) => return Err(failed(listed_by, id)(error)),
    };
    Ok(Look { status, began, resource })
}

impl Look {
    /// When the resource became what it is, if it is at rest.
    pub(super) fn settled(&self) -> Option<Timestamp> {
        let resource = self.resource.as_ref()?;
        matches!(resource.status.as_str(), "CREATE_COMPLETE" | "UPDATE_COMPLETE").then_some(resource.changed)?
    }

    /// What there is instead, if CloudFormation does not want any more what the request asks for.
    pub(super) fn overtaken(&self, kind: RequestType, known: Known<'_>) -> Option<String> {
        let by_stack = || Some(format!("its stack is {}", self.status));
        if !waits(kind, &self.status, known.answered.is_some()) {
            return by_stack();
        }
        let same = known.status.is_none_or(|then| then == self.status);
        let resource = self.resource.as_ref();
        let by_resource = |resource: &Resource| Some(format!("its resource is {} since it was sent", resource.status));
        if let Some(answered) = known.answered {
            if !same && self.status == "UPDATE_ROLLBACK_IN_PROGRESS" {
                return by_stack();
            }
            let Some(resource) = resource else { return Some("its stack has no such resource".to_owned()) };
            // A deletion of what the resource was replaced by, or replaces, is no concern of this one.
            let of_another = resource.status.starts_with("DELETE_")
                && resource.physical_id.as_deref().is_some_and(|id| id != known.physical_id);
            let newer = resource.changed.is_some_and(|changed| {
                if resource.status.ends_with("_IN_PROGRESS") {
                    // As long as the answer is not taken, it is this request that is under way.
                    changed > known.sent.unwrap_or(answered) + SKEW
                } else {
                    known.settled.map_or(changed > answered + SETTLES, |settled| changed != settled)
                }
            });
            return if newer && !of_another { by_resource(resource) } else { None };
        }
        if !same {
            return by_stack();
        }
        let sent = known.sent?;
        // While a Delete is under way, the resource may be what replaced the deleted one.
        if kind != RequestType::Delete
            && let Some(resource) = resource
            && let Some(changed) = resource.changed
        {
            let at_work = resource.status.ends_with("_IN_PROGRESS");
            let asked_again = kind == RequestType::Update && changed > sent + SKEW;
            if asked_again || !at_work && changed >= sent {
                return by_resource(resource);
            }
            if at_work {
                return None;
            }
        }
        let later = self.began.is_some_and(|began| began > sent + SKEW);
        later.then(|| format!("its stack is {} in a later operation", self.status))
    }
}

/// Whether a stack of that status waits for a request of that kind. After a Create or Update was answered, what goes on in
/// the background is wanted for as long as the stack is neither rolled back nor deleted.
pub(super) fn waits(kind: RequestType, status: &str, answered: bool) -> bool {
    let undone = status.starts_with("DELETE_") || status.starts_with("ROLLBACK_");
    let cleans_up = status.ends_with("_CLEANUP_IN_PROGRESS");
    let runs = status.ends_with("_IN_PROGRESS");
    match kind {
        RequestType::Create if answered => !undone && !status.contains("ROLLBACK"),
        RequestType::Update if answered => !undone,
        RequestType::Create => runs && !undone && !cleans_up && !status.contains("ROLLBACK"),
        RequestType::Update => runs && !undone && !cleans_up,
        // While a stack is created nothing of it is deleted.
        RequestType::Delete => runs && status != "CREATE_IN_PROGRESS",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_awaited_only_while_the_stack_does_what_it_is_part_of() {
        use RequestType::{Create, Delete, Update};
        let table: [(&str, &[RequestType]); 13] = [
            ("CREATE_IN_PROGRESS", &[Create, Update]),
            ("CREATE_COMPLETE", &[]),
            ("CREATE_FAILED", &[]),
            ("ROLLBACK_IN_PROGRESS", &[Delete]),
            ("ROLLBACK_COMPLETE", &[]),
            ("UPDATE_IN_PROGRESS", &[Create, Update, Delete]),
            ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", &[Delete]),
            ("UPDATE_COMPLETE", &[]),
            ("UPDATE_ROLLBACK_IN_PROGRESS", &[Update, Delete]),
            ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", &[Delete]),
            ("DELETE_IN_PROGRESS", &[Delete]),
            ("DELETE_FAILED", &[]),
            ("DELETE_COMPLETE", &[]),
        ];
        for (status, awaited) in table {
            for kind in [Create, Update, Delete] {
                assert_eq!(waits(kind, status, false), awaited.contains(&kind), "{kind:?} in {status}");
            }
        }
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    fn seen(status: &str, began: i64, resource: (&str, i64)) -> Look {
        let (of_resource, changed) = resource;
        Look {
            status: status.to_owned(),
            began: Some(at(began)),
            resource: Some(Resource {
                status: of_resource.to_owned(),
                changed: Some(at(changed)),
                physical_id: Some("id".to_owned()),
            }),
        }
    }

    #[test]
    fn a_request_is_overtaken_by_what_came_after_it_was_sent() {
        use RequestType::{Create, Delete, Update};
        let known = Known { sent: Some(at(10)), answered: None, settled: None, status: None, physical_id: "id" };
        let table = [
            (Create, seen("CREATE_IN_PROGRESS", 9, ("CREATE_IN_PROGRESS", 10)), false, "it is waited for"),
            (Create, seen("CREATE_IN_PROGRESS", 9, ("CREATE_FAILED", 11)), true, "it failed; others are being created"),
            (Create, seen("CREATE_IN_PROGRESS", 9, ("CREATE_COMPLETE", 11)), true, "it was answered"),
            (Update, seen("UPDATE_IN_PROGRESS", 9, ("UPDATE_IN_PROGRESS", 10)), false, "it is waited for"),
            (Update, seen("UPDATE_IN_PROGRESS", 9, ("UPDATE_COMPLETE", 8)), false, "an old status, not yet the new"),
            (Update, seen("UPDATE_IN_PROGRESS", 12, ("UPDATE_COMPLETE", 11)), true, "the next update"),
            (Update, seen("UPDATE_IN_PROGRESS", 12, ("UPDATE_IN_PROGRESS", 12)), true, "the next update of it"),
            (Update, seen("UPDATE_ROLLBACK_IN_PROGRESS", 9, ("UPDATE_IN_PROGRESS", 12)), true, "its own reverse"),
            (Update, seen("UPDATE_ROLLBACK_IN_PROGRESS", 9, ("UPDATE_IN_PROGRESS", 10)), false, "it is the reverse"),
            (Delete, seen("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", 9, ("UPDATE_COMPLETE", 11)), false, "a replacement"),
            (Delete, seen("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", 12, ("UPDATE_COMPLETE", 12)), true, "the next one"),
            (Delete, seen("DELETE_IN_PROGRESS", 9, ("DELETE_FAILED", 11)), false, "deleting more does no harm"),
        ];
        for (kind, look, expected, why) in table {
            assert_eq!(look.overtaken(kind, known).is_some(), expected, "{why}: {kind:?}, {look:?}");
        }
        let rolled_back = Known { status: Some("UPDATE_IN_PROGRESS"), sent: None, ..known };
        let look = seen("UPDATE_ROLLBACK_IN_PROGRESS", 9, ("UPDATE_IN_PROGRESS", 10));
        assert!(look.overtaken(Update, rolled_back).is_some(), "told by its status alone");
    }

    #[test]
    fn an_answered_rollout_is_overtaken_by_the_next_request_of_the_resource_and_by_no_other_update() {
        use RequestType::Update;
        let known = Known {
            sent: Some(at(10)),
            answered: Some(at(60)),
            settled: None,
            status: Some("UPDATE_IN_PROGRESS"),
            physical_id: "id",
        };
        let other_version = |mut look: Look| {
            if let Some(resource) = &mut look.resource {
                resource.physical_id = Some("other".to_owned());
            }
            look
        };
        let table = [
            (seen("UPDATE_COMPLETE", 9, ("UPDATE_COMPLETE", 60)), false, "nothing happened since"),
            (seen("UPDATE_COMPLETE", 70, ("UPDATE_COMPLETE", 60)), false, "an update of others"),
            (seen("UPDATE_IN_PROGRESS", 70, ("UPDATE_IN_PROGRESS", 70)), true, "the next update"),
            (seen("UPDATE_IN_PROGRESS", 61, ("UPDATE_IN_PROGRESS", 61)), true, "the next update, at once"),
            (seen("UPDATE_IN_PROGRESS", 9, ("UPDATE_IN_PROGRESS", 10)), false, "the answer is not taken yet"),
            (seen("UPDATE_COMPLETE", 9, ("UPDATE_COMPLETE", 64)), false, "it took a while"),
            (seen("UPDATE_COMPLETE", 70, ("UPDATE_COMPLETE", 71)), true, "the next update has ended"),
            (seen("UPDATE_ROLLBACK_IN_PROGRESS", 9, ("UPDATE_COMPLETE", 60)), true, "it is about to be taken back"),
            (seen("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", 70, ("DELETE_IN_PROGRESS", 71)), true, "its deletion"),
            (seen("DELETE_IN_PROGRESS", 9, ("UPDATE_COMPLETE", 60)), true, "its stack's deletion"),
            (
                other_version(seen("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", 9, ("DELETE_IN_PROGRESS", 62))),
                false,
                "the deletion of what it replaced",
            ),
            (other_version(seen("UPDATE_COMPLETE", 70, ("UPDATE_COMPLETE", 71))), true, "what replaced it"),
            (Look { resource: None, ..seen("UPDATE_COMPLETE", 70, ("", 0)) }, true, "it is in the stack no more"),
        ];
        for (look, expected, why) in table {
            assert_eq!(look.overtaken(Update, known).is_some(), expected, "{why}: {look:?}");
        }
        let settled = Known { settled: Some(at(61)), ..known };
        for (changed, expected) in [(61, false), (62, true)] {
            let look = seen("UPDATE_COMPLETE", 61, ("UPDATE_COMPLETE", changed));
            assert_eq!(look.overtaken(Update, settled).is_some(), expected, "changed at {changed}");
        }
    }

    #[test]
    fn a_rollout_goes_on_after_its_answer_until_the_stack_is_rolled_back_or_deleted() {
        for status in
            ["CREATE_IN_PROGRESS", "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"]
        {
            assert!(waits(RequestType::Update, status, true), "{status}");
        }
        for status in ["ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE", "DELETE_IN_PROGRESS", "DELETE_COMPLETE"] {
            assert!(!waits(RequestType::Create, status, true), "{status}");
        }
        assert!(waits(RequestType::Update, "UPDATE_ROLLBACK_COMPLETE", true), "it may be the rollback itself");
    }
}
