//! Aggregation authorizations: an account and region lets an account and region collect its items.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Site, State, error, limit, page, put, required, site, tagging};
use crate::World;
use crate::identity::{AccountId, Region};
use crate::operation::{Access, Call, ServiceError, epoch};

/// An authorization, of which there is one for each pair of sites.
#[derive(Debug, Clone)]
pub(super) struct Authorization {
    created: Timestamp,
}

impl State {
    /// Whether `source` lets `hub` collect.
    pub(super) fn authorizes(&self, source: &Site, hub: &Site) -> bool {
        self.authorizations.contains_key(&(source.clone(), hub.clone()))
    }
}

fn hub(input: &Value) -> Result<Site, ServiceError> {
    let account = AccountId::new(required(input, "AuthorizedAccountId")?);
    let region = Region::new(required(input, "AuthorizedAwsRegion")?);
    account
        .zip(region)
        .ok_or_else(|| error("InvalidParameterValueException", "The authorized account or region is not valid."))
}

fn arn(call: &Call, (account, region): &Site) -> String {
    call.arn("config", &format!("aggregation-authorization/{account}/{region}"))
}

pub(super) fn may(action: &str, call: &Call, input: &Value) -> Result<Vec<Access>, ServiceError> {
    let access = Access::new(format!("config:{action}"), arn(call, &hub(input)?));
    Ok(vec![tagging::with_request_tags(access, &tagging::read(input)?)])
}

fn shown(call: &Call, hub: &Site, authorization: &Authorization) -> Value {
    json!({
        "AggregationAuthorizationArn": arn(call, hub),
        "AuthorizedAccountId": hub.0.as_str(),
        "AuthorizedAwsRegion": hub.1.as_str(),
        "CreationTime": epoch(authorization.created),
    })
}

/// Putting it twice changes nothing, and adds the tags.
pub(super) fn put_authorization(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (hub, created) = (hub(input)?, world.now());
    let tags = tagging::read(input)?;
    world.config.tags.entry(arn(call, &hub)).or_default().extend(tags);
    let key = (site(call), hub.clone());
    let authorization = world.config.authorizations.entry(key).or_insert(Authorization { created });
    Ok(json!({"AggregationAuthorization": shown(call, &hub, authorization)}))
}

pub(super) fn describe(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let source = site(call);
    let all: Vec<Value> = world
        .config
        .authorizations
        .iter()
        .filter(|((from, _), _)| *from == source)
        .map(|((_, hub), authorization)| shown(call, hub, authorization))
        .collect();
    let (some, next) = page(&all, input, limit(input, "Limit", 100)?)?;
    let mut output = json!({"AggregationAuthorizations": some});
    put(&mut output, "NextToken", next);
    Ok(output)
}

/// What is not there is deleted already.
pub(super) fn delete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let hub = hub(input)?;
    world.config.tags.remove(&arn(call, &hub));
    world.config.authorizations.remove(&(site(call), hub));
    Ok(json!({}))
}
