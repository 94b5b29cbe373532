//! The recurring schedule, in the EcrCleanup's group, that asks for sweeps. It goes with the group.

use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::operation::get_schedule::GetScheduleOutput;
use aws_sdk_scheduler::types::{FlexibleTimeWindow, FlexibleTimeWindowMode, ScheduleState, Target};
use aws_smithy_types::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::desired::Desired;
use super::step::{Progress, StepError, failed};
use crate::checks::bus_target;
use crate::names::SWEEP_DUE;

/// Its name in the group.
const NAME: &str = "sweep";

/// A sweep before the aggregator has collected what runs would take everything for a candidate.
const FIRST_AFTER: SignedDuration = SignedDuration::from_hours(6);

/// Without a detail a sweep begins at the first repository.
const INPUT: &str = "{}";

fn target(desired: &Desired) -> Result<Target, StepError> {
    bus_target(&desired.settings, SWEEP_DUE, INPUT.to_owned())
        .map_err(|error| StepError::Limit(format!("the schedule {NAME}: {error}")))
}

/// Whether a schedule is what is wanted, as far as it matters.
fn is_as_wanted(found: &GetScheduleOutput, expression: &str, target: &Target) -> bool {
    let is = found.target();
    found.schedule_expression() == Some(expression)
        && found.state() == Some(&ScheduleState::Enabled)
        && is.map(Target::arn) == Some(target.arn())
        && is.map(Target::role_arn) == Some(target.role_arn())
        && is.and_then(Target::event_bridge_parameters) == target.event_bridge_parameters()
        && is.and_then(Target::input) == target.input()
}

/// One step towards the schedule, or towards none if the sweep is off.
pub(super) async fn converge(client: &Client, desired: &Desired, now: Timestamp) -> Result<Progress, StepError> {
    let group = desired.identity.part_name();
    let thing = format!("{group}/{NAME}");
    let found = match client.get_schedule().group_name(&group).name(NAME).send().await {
        Ok(found) => Some(found),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => None,
        Err(error) => return Err(failed("scheduler:GetSchedule", &thing)(error)),
    };
    let Some(expression) = &desired.sweep_schedule else {
        if found.is_none() {
            return Ok(Progress::Done);
        }
        return match client.delete_schedule().group_name(&group).name(NAME).send().await {
            Ok(_) => Ok(Progress::Stepped),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                Ok(Progress::Done)
            }
            Err(error) => Err(failed("scheduler:DeleteSchedule", &thing)(error)),
        };
    };
    let target = target(desired)?;
    let window = FlexibleTimeWindow::builder()
        .mode(FlexibleTimeWindowMode::Off)
        .build()
        .map_err(|error| StepError::Limit(format!("the schedule {NAME}: {error}")))?;
    match found {
        Some(found) if is_as_wanted(&found, expression, &target) => Ok(Progress::Done),
        Some(_) => {
            client
                .update_schedule()
                .group_name(&group)
                .name(NAME)
                .schedule_expression(expression)
                .schedule_expression_timezone("UTC")
                .flexible_time_window(window)
                .state(ScheduleState::Enabled)
                .target(target)
                .send()
                .await
                .map_err(failed("scheduler:UpdateSchedule", &thing))?;
            Ok(Progress::Stepped)
        }
        None => {
            let created = client
                .create_schedule()
                .group_name(&group)
                .name(NAME)
                .schedule_expression(expression)
                .schedule_expression_timezone("UTC")
                // Without one, a rate begins at once (EventBridge Scheduler user guide, Schedule types).
                .start_date(DateTime::from_secs((now + FIRST_AFTER).as_second()))
                .flexible_time_window(window)
                .state(ScheduleState::Enabled)
                .target(target)
                .send()
                .await;
            match created {
                Ok(_) => Ok(Progress::Stepped),
                // The same request, delivered twice; the next look tells whether it is as wanted.
                Err(error) if error.as_service_error().is_some_and(|error| error.is_conflict_exception()) => {
                    Ok(Progress::Stepped)
                }
                Err(error) => Err(failed("scheduler:CreateSchedule", &thing)(error)),
            }
        }
    }
}
