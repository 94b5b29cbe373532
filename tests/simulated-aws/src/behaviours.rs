//! What AWS does not document, as choices.

use jiff::SignedDuration;

use crate::config::{InnerUnderscore, StatusSpelling};

/// One field for each undocumented behaviour. The default is the one that makes the product's life harder; tests run
/// under each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Behaviours {
    /// How long a schedule with `ActionAfterCompletion: DELETE` is still there after its last invocation: it cannot be
    /// made again in that time, and what it is updated to is lost.
    pub completed_schedule_remains: SignedDuration,
    /// What becomes of a one-time schedule whose time has passed when it is made.
    pub past_schedule: PastSchedule,
    /// How long a schedule group stays `DELETING`; its schedules still fire then.
    pub schedule_group_deletion_takes: SignedDuration,
    /// A schedule fires at the start of the minute in which it is due, so up to 59 seconds early. Otherwise it fires on
    /// the second.
    pub schedules_fire_at_start_of_minute: bool,
    /// `BatchDeleteImage` with tag and digest, when they agree, removes the whole image. Otherwise it removes the tag,
    /// and the image only with its last.
    pub ecr_delete_by_tag_and_digest_removes_image: bool,
    /// One `BatchDeleteImage` with an index and its children deletes both, if the index comes first. Otherwise the
    /// children are refused as if the index were still there.
    pub ecr_batch_delete_sees_its_own_deletions: bool,
    /// Deleting the last tag of an image that an index holds removes the tag, and the image stays untagged. Otherwise it is
    /// refused, and the tag stays.
    pub ecr_last_tag_of_index_child_can_go: bool,
    /// `BatchGetImage` counts as a pull.
    pub ecr_batch_get_image_counts_as_pull: bool,
    /// `DescribeImages` with an id whose image the status filter hides answers `ImageNotFoundException`. Otherwise the
    /// image is left out.
    pub ecr_image_hidden_by_filter_is_missing: bool,
    /// Putting another tag on an image refreshes its push time.
    pub ecr_retag_updates_push_time: bool,
    /// An image that an index holds can be archived alone.
    pub ecr_index_child_can_be_archived: bool,
    /// What a `_` before the end of a `LIKE` pattern of Config means.
    pub config_inner_underscore: InnerUnderscore,
    /// How Config writes the `lastStatus` of a recorder.
    pub config_status_spelling: StatusSpelling,
    /// Items of `AWS::Config::ConfigurationRecorder` reach the aggregators.
    pub config_recorder_is_aggregated: bool,
    /// An aggregator's own account, too, must authorize it.
    pub config_own_account_needs_authorization: bool,
    /// The item of a task definition is gone after `DeleteTaskDefinitions`. Otherwise it stays, INACTIVE.
    pub config_deleted_task_definition_vanishes: bool,
    /// How long a stack set operation waits before it begins, and after its last instance. With many accounts they take an
    /// hour.
    pub stack_set_operation_pause: SignedDuration,
    /// For ten minutes after its deregistration a task definition can still be run and deployed.
    pub ecs_inactive_can_begin_for_ten_minutes: bool,
    /// A service that runs an inactive revision can be deployed again with it by force, which resolves tags anew.
    pub ecs_inactive_revision_can_be_forced: bool,
}

/// What becomes of a one-time schedule whose time has passed when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PastSchedule {
    /// It is refused.
    Rejected,
    /// It fires at once.
    FiresAtOnce,
}

impl Behaviours {
    /// The default with one behaviour turned, for each behaviour: its name, and how AWS then behaves.
    pub fn turned_one_by_one() -> Vec<(&'static str, Self)> {
        /// Naming every field makes a new behaviour a compile error here.
        macro_rules! turned {
            ($($field:ident: $turn:expr,)*) => {{
                let Self { $($field,)* } = Self::default();
                vec![$((stringify!($field), Self { $field: $turn($field), ..Self::default() }),)*]
            }};
        }
        fn not(value: bool) -> bool {
            !value
        }
        turned! {
            completed_schedule_remains: |_| SignedDuration::from_mins(10),
            past_schedule: |_| PastSchedule::FiresAtOnce,
            schedule_group_deletion_takes: |_| SignedDuration::ZERO,
            schedules_fire_at_start_of_minute: not,
            ecr_delete_by_tag_and_digest_removes_image: not,
            ecr_batch_delete_sees_its_own_deletions: not,
            ecr_last_tag_of_index_child_can_go: not,
            ecr_batch_get_image_counts_as_pull: not,
            ecr_image_hidden_by_filter_is_missing: not,
            ecr_retag_updates_push_time: not,
            ecr_index_child_can_be_archived: not,
            config_inner_underscore: |_| InnerUnderscore::Refused,
            config_status_spelling: |_| StatusSpelling::UpperCase,
            config_recorder_is_aggregated: not,
            config_own_account_needs_authorization: not,
            config_deleted_task_definition_vanishes: not,
            stack_set_operation_pause: |_| SignedDuration::from_mins(20),
            ecs_inactive_can_begin_for_ten_minutes: not,
            ecs_inactive_revision_can_be_forced: not,
        }
    }
}

impl Default for Behaviours {
    fn default() -> Self {
        Self {
            completed_schedule_remains: SignedDuration::from_secs(60),
            past_schedule: PastSchedule::Rejected,
            schedule_group_deletion_takes: SignedDuration::from_mins(2),
            schedules_fire_at_start_of_minute: true,
            ecr_delete_by_tag_and_digest_removes_image: true,
            ecr_batch_delete_sees_its_own_deletions: false,
            ecr_last_tag_of_index_child_can_go: false,
            ecr_batch_get_image_counts_as_pull: true,
            ecr_image_hidden_by_filter_is_missing: true,
            ecr_retag_updates_push_time: false,
            ecr_index_child_can_be_archived: true,
            config_inner_underscore: InnerUnderscore::AnyCharacter,
            config_status_spelling: StatusSpelling::Capitalized,
            config_recorder_is_aggregated: false,
            config_own_account_needs_authorization: true,
            config_deleted_task_definition_vanishes: true,
            stack_set_operation_pause: SignedDuration::from_secs(5),
            ecs_inactive_can_begin_for_ten_minutes: true,
            ecs_inactive_revision_can_be_forced: true,
        }
    }
}
