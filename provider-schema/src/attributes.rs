//! What `Fn::GetAtt` answers for a `Custom::EcrCleanup`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::scalar::Name;

/// The attributes of an EcrCleanup: the `Data` of the answer to CloudFormation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Attributes {
    /// The name of this EcrCleanup, given or derived.
    pub name: Name,
    /// The name of the AWS Config aggregator.
    pub aggregator_name: String,
    /// The name of the event bus in the hub.
    pub event_bus_name: String,
    /// The ARN of the event bus in the hub.
    pub event_bus_arn: String,
    /// The name of the EventBridge Scheduler schedule group that holds the image deletion checks.
    pub schedule_group_name: String,
    /// The name of the stack set that deploys the workload template.
    pub stack_set_name: String,
    /// Whether the stack set was still being rolled out when CloudFormation could wait no longer. It goes on afterwards.
    pub rollout_pending: bool,
    /// Where the stack set could not be deployed when this was answered, as account/Region: these accounts are not covered.
    /// At most so many as fit 1,000 characters, and how many more; none, if it is nowhere.
    pub failed_instances: String,
}
