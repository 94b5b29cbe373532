//! The group in which the image deletion checks are scheduled.

use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::types::{ScheduleGroupState, Tag};

use super::desired::{Desired, Identity, OWNER_TAG};
use super::step::{Progress, StepError, failed, owned};

/// What is there.
enum State {
    Absent,
    Deleting,
    Present,
}

async fn observe(client: &Client, identity: &Identity) -> Result<State, StepError> {
    let name = identity.part_name();
    let group = match client.get_schedule_group().name(&name).send().await {
        Ok(group) => group,
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
            return Ok(State::Absent);
        }
        Err(error) => return Err(failed("scheduler:GetScheduleGroup", &name)(error)),
    };
    let arn = group.arn().ok_or(StepError::Answer { call: "scheduler:GetScheduleGroup", what: "an ARN" })?;
    let tags = client
        .list_tags_for_resource()
        .resource_arn(arn)
        .send()
        .await
        .map_err(failed("scheduler:ListTagsForResource", &name))?;
    let owner = tags.tags().iter().find(|tag| tag.key() == OWNER_TAG).map(Tag::value);
    // A group that is being deleted may have lost its tags already; nothing is done to it either way.
    if group.state() == Some(&ScheduleGroupState::Deleting) {
        return Ok(State::Deleting);
    }
    owned(owner, &identity.owner, &format!("the schedule group {name}"))?;
    Ok(State::Present)
}

/// Whether there is no group of that name, of whomever.
pub(super) async fn is_absent(client: &Client, identity: &Identity) -> Result<bool, StepError> {
    match observe(client, identity).await {
        Ok(State::Absent) => Ok(true),
        Ok(State::Deleting | State::Present) | Err(StepError::Foreign { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// One step towards the group.
pub(super) async fn converge(client: &Client, desired: &Desired) -> Result<Progress, StepError> {
    let name = desired.identity.part_name();
    match observe(client, &desired.identity).await? {
        State::Present => Ok(Progress::Done),
        State::Deleting => Ok(Progress::Waiting(format!("the deletion of the schedule group {name}"))),
        State::Absent => {
            let call = "scheduler:CreateScheduleGroup";
            let tag = Tag::builder()
                .key(OWNER_TAG)
                .value(&desired.identity.owner)
                .build()
                .map_err(|error| StepError::Limit(format!("{call}: {error}")))?;
            let created = client.create_schedule_group().name(&name).tags(tag).send().await;
            match created {
                Ok(_) => Ok(Progress::Stepped),
                // Somebody was faster; the next look tells who.
                Err(error) if error.as_service_error().is_some_and(|error| error.is_conflict_exception()) => {
                    Ok(Progress::Waiting(format!("the schedule group {name}")))
                }
                Err(error) => Err(failed(call, &name)(error)),
            }
        }
    }
}

/// One step towards no group. It is done only when the group is really gone: until then its schedules may fire.
pub(super) async fn remove(client: &Client, identity: &Identity) -> Result<Progress, StepError> {
    let name = identity.part_name();
    let waiting = || Ok(Progress::Waiting(format!("the deletion of the schedule group {name}")));
    match observe(client, identity).await {
        Ok(State::Absent) => Ok(Progress::Done),
        Ok(State::Deleting) => waiting(),
        Ok(State::Present) => match client.delete_schedule_group().name(&name).send().await {
            Ok(_) => Ok(Progress::Stepped),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                Ok(Progress::Stepped)
            }
            Err(error) if error.as_service_error().is_some_and(|error| error.is_conflict_exception()) => waiting(),
            Err(error) => Err(failed("scheduler:DeleteScheduleGroup", &name)(error)),
        },
        // Not ours, so not ours to remove.
        Err(StepError::Foreign { .. }) => Ok(Progress::Done),
        Err(error) => Err(error),
    }
}
