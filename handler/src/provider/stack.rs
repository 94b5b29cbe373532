//! The stack that a request belongs to: whether CloudFormation still waits for what the request asks.
//!
//! A delivery may come late: again after a crash, or out of a schedule. By then the stack may be rolled back or deleted, and
//! doing what was asked would bring back what nobody removes any more. CloudFormation itself knows.

use aws_sdk_cloudformation::Client;

use super::request::{Request, RequestType};

/// The stack's status.
///
/// Nothing for a stack that cannot be looked at, which counts as waiting: an answer that nobody needs does no harm, a missing
/// one does.
pub(super) async fn status(client: &Client, request: &Request) -> Option<String> {
    match client.describe_stacks().stack_name(&request.stack_id).send().await {
        Ok(described) => Some(described.stacks().first()?.stack_status()?.as_str().to_owned()),
        Err(error) => {
            let error = super::step::failed("cloudformation:DescribeStacks", &request.stack_id)(error);
            tracing::warn!(request_id = %request.request_id, %error, "the stack cannot be looked at");
            None
        }
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
