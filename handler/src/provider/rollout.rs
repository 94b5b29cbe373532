//! What is told of a rollout: the accounts and regions that it did not reach, in the answer to CloudFormation and on the bus.

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use serde_json::json;

use super::desired::Desired;
use super::stack_set::FailedInstance;
use super::step::{StepError, failed};
use crate::clients::Clients;
use crate::names::EVENT_SOURCE;

/// `detail-type` of the event that names accounts in which the stack set failed.
const NOT_COVERED: &str = "Accounts Not Covered";
/// The answer to CloudFormation has 4,096 bytes for everything.
const LONGEST_ATTRIBUTE: usize = 1000;
/// An event has 256 KB; a reason can be long.
const INSTANCES_PER_EVENT: usize = 100;
/// The longest reason of an instance in an event, in characters.
const LONGEST_REASON: usize = 1000;

/// The attribute that names failed instances: as many as fit, and how many more.
pub(super) fn attribute(failed: &[FailedInstance]) -> String {
    if failed.is_empty() {
        return "none".to_owned();
    }
    let mut text = String::new();
    for (index, FailedInstance { account, region, .. }) in failed.iter().enumerate() {
        let next = format!("{}{account}/{region}", if index == 0 { "" } else { ", " });
        let more = format!(" and {} more", failed.len() - index);
        if text.len() + next.len() + more.len() > LONGEST_ATTRIBUTE {
            return text + &more;
        }
        text += &next;
    }
    text
}

/// Tells of failed instances on the bus, and of a rollout that has failed after its answer, whether in instances or not.
pub(super) async fn publish(
    clients: &Clients,
    desired: &Desired,
    all: &[FailedInstance],
    trouble: Option<&str>,
) -> Result<(), StepError> {
    let call = "events:PutEvents";
    let cut = |reason: &str| -> String { reason.chars().take(LONGEST_REASON).collect() };
    // Without any instance it is one event, if there is something to tell.
    let chunks = all.chunks(INSTANCES_PER_EVENT).chain((all.is_empty() && trouble.is_some()).then_some(all));
    for instances in chunks {
        let instances: Vec<_> = instances
            .iter()
            .map(|instance| {
                json!({"account": instance.account, "region": instance.region, "reason": cut(&instance.reason)})
            })
            .collect();
        let mut detail = json!({"cleanup": desired.identity.names, "instances": instances, "total": all.len()});
        if let Some(trouble) = trouble {
            detail["reason"] = json!(cut(trouble));
        }
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&desired.event_bus_arn)
            .source(EVENT_SOURCE)
            .detail_type(NOT_COVERED)
            .detail(detail.to_string())
            .build();
        let put = clients.eventbridge().put_events().entries(entry).send().await;
        let put = put.map_err(failed(call, &desired.event_bus_arn))?;
        if let Some(code) = put.entries().iter().find_map(|entry| entry.error_code()) {
            let thing = desired.event_bus_arn.clone();
            return Err(StepError::Call { call, thing, message: code.to_owned(), passing: false });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attribute_names_as_many_instances_as_fit_and_counts_the_rest() {
        let instance = |number: usize| FailedInstance {
            account: format!("{number:012}"),
            region: "eu-west-1".to_owned(),
            reason: "it failed".to_owned(),
        };
        assert_eq!(attribute(&[]), "none");
        assert_eq!(attribute(&[instance(1), instance(2)]), "000000000001/eu-west-1, 000000000002/eu-west-1");
        let all: Vec<_> = (0..800).map(instance).collect();
        let text = attribute(&all);
        assert!(text.len() <= LONGEST_ATTRIBUTE, "{}", text.len());
        let named = text.matches('/').count();
        assert!(text.ends_with(&format!(" and {} more", 800 - named)), "{text}");
        assert!(named > 35, "{named}");
    }
}
