//! Going on later: a one-time schedule that invokes the provider again.
//!
//! A new request about the same EcrCleanup takes the place of those before it (a stack is deleted while it is created, say):
//! what was scheduled for them is cancelled, since going on with them would undo it; not what was scheduled for later ones,
//! should a delivery come late. The two sides of a replacement are two
//! EcrCleanups: deleting the former does not end the rollout of the latter.

use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::types::{ActionAfterCompletion, FlexibleTimeWindow, FlexibleTimeWindowMode, Target};
use jiff::{SignedDuration, Timestamp};

use serde_json::Value;

use super::Resume;
use super::desired::{Environment, short_hash};
use super::request::sent_at;
use super::step::{StepError, failed};

/// How long until the next look. Schedules have a precision of a minute, and a time that passes while the call is on
/// its way may be rejected.
const PAUSE: SignedDuration = SignedDuration::from_mins(2);
/// How long until the next look at the latest: the pause, the minute within which a schedule fires (EventBridge Scheduler
/// user guide, Schedule types), and the way to the function.
pub(super) const LATEST: SignedDuration = SignedDuration::from_secs(195);

/// How the names of an EcrCleanup's resumptions begin.
fn prefix(physical_id: &str) -> String {
    format!("resume-{}-", short_hash(physical_id))
}

/// How the names of a request's resumptions begin: with when it was sent (in seconds; 0 if that is not known), so that those
/// of former requests can be told.
fn name_of_request(physical_id: &str, payload: &Value, request_id: &str) -> String {
    let sent = sent_at(payload).map_or(0, Timestamp::as_second);
    format!("{}{sent}-{}-", prefix(physical_id), short_hash(request_id))
}

/// Whether the schedule `name` is of a request that was sent before the one whose schedules begin with `ours`.
fn is_of_a_former(name: &str, ours: &str, prefix: &str) -> bool {
    let sent = |name: &str| name.strip_prefix(prefix)?.split('-').next()?.parse::<i64>().ok();
    !name.starts_with(ours) && sent(ours).is_none_or(|ours| ours == 0 || sent(name).is_none_or(|sent| sent < ours))
}

/// Cancels what is scheduled for former requests about the same EcrCleanup.
pub(super) async fn cancel_former(
    client: &Client,
    environment: &Environment,
    physical_id: &str,
    payload: &Value,
    request_id: &str,
) -> Result<(), StepError> {
    let (group, prefix) = (&environment.resume_group, prefix(physical_id));
    let ours = name_of_request(physical_id, payload, request_id);
    let mut token = None;
    loop {
        let page = client
            .list_schedules()
            .group_name(group)
            .name_prefix(&prefix)
            .set_next_token(token)
            .send()
            .await
            .map_err(failed("scheduler:ListSchedules", group))?;
        for name in page.schedules().iter().filter_map(|schedule| schedule.name()) {
            if !is_of_a_former(name, &ours, &prefix) {
                continue;
            }
            match client.delete_schedule().group_name(group).name(name).send().await {
                Ok(_) => {}
                Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                }
                Err(error) => return Err(failed("scheduler:DeleteSchedule", name)(error)),
            }
        }
        token = page.next_token().map(str::to_owned);
        if token.is_none() {
            return Ok(());
        }
    }
}

/// Schedules the resumption of a request. One that is scheduled already stays as it is.
pub(super) async fn schedule(
    client: &Client,
    environment: &Environment,
    function_arn: &str,
    physical_id: &str,
    request_id: &str,
    resume: &Resume,
    now: Timestamp,
) -> Result<(), StepError> {
    let call = "scheduler:CreateSchedule";
    // A look at an answered rollout is no resumption of the request, should both be scheduled.
    let what = if resume.answered.is_some() { "rollout-" } else { "" };
    let name = format!("{}{what}{}", name_of_request(physical_id, &resume.request, request_id), resume.token);
    let invalid = |error: aws_sdk_scheduler::error::BuildError| StepError::Limit(format!("{call}: {error}"));
    let input = serde_json::to_string(resume).map_err(|error| StepError::Limit(format!("{call}: {error}")))?;
    let target = Target::builder()
        .arn(function_arn)
        .role_arn(&environment.scheduler_role_arn)
        .input(input)
        .build()
        .map_err(invalid)?;
    let window = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().map_err(invalid)?;
    let at = (now + PAUSE).strftime("%Y-%m-%dT%H:%M:%S");
    let created = client
        .create_schedule()
        .group_name(&environment.resume_group)
        .name(&name)
        .schedule_expression(format!("at({at})"))
        .schedule_expression_timezone("UTC")
        .flexible_time_window(window)
        .action_after_completion(ActionAfterCompletion::Delete)
        .target(target)
        .send()
        .await;
    match created {
        Ok(_) => Ok(()),
        // The same request, delivered twice, asked for the same resumption.
        Err(error) if error.as_service_error().is_some_and(|error| error.is_conflict_exception()) => Ok(()),
        Err(error) => Err(failed(call, &name)(error)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(date: &str) -> Value {
        json!({"ResponseURL": format!("https://example.com/?X-Amz-Date={date}&X-Amz-Expires=7199")})
    }

    #[test]
    fn only_resumptions_of_former_requests_are_cancelled() {
        let begin = |date: &str, request_id: &str| name_of_request("id", &request(date), request_id);
        let schedule = |date: &str, request_id: &str| format!("{}rollout-700", begin(date, request_id));
        let (earlier, now, later) = ("20261126T120000Z", "20261126T120005Z", "20261126T120010Z");
        let cancels = |ours: &str, name: &str| is_of_a_former(name, ours, &prefix("id"));
        assert!(cancels(&begin(now, "a"), &schedule(earlier, "b")));
        assert!(!cancels(&begin(now, "a"), &schedule(now, "a")), "its own");
        assert!(!cancels(&begin(now, "a"), &schedule(later, "b")), "a delivery came late");
        assert!(cancels(&begin(now, "a"), &schedule("?", "b")), "nobody knows when that was");
        assert!(cancels(&begin("?", "a"), &schedule(later, "b")), "nor this");
        // The limit of EventBridge Scheduler.
        assert!(schedule(now, "a").len() <= 64);
    }
}
