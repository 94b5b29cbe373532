//! Going on later: a one-time schedule that invokes the provider again.

use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::types::{ActionAfterCompletion, FlexibleTimeWindow, FlexibleTimeWindowMode, Target};
use jiff::{SignedDuration, Timestamp};

use super::Resume;
use super::desired::{Environment, short_hash};
use super::step::{StepError, failed};

/// How long until the next look. Schedules have a precision of a minute, and a time that passes while the call is on
/// its way may be rejected.
const PAUSE: SignedDuration = SignedDuration::from_mins(2);

/// Schedules the resumption of a request. One that is scheduled already stays as it is.
pub(super) async fn schedule(
    client: &Client,
    environment: &Environment,
    function_arn: &str,
    request_id: &str,
    resume: &Resume,
    now: Timestamp,
) -> Result<(), StepError> {
    let call = "scheduler:CreateSchedule";
    let name = format!("resume-{}-{}", short_hash(request_id), resume.token);
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
