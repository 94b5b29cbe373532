//! Queries: to an aggregator, and to the items of the account and region itself.

use serde_json::{Value, json};

use super::query::{Query, QueryError};
use super::{error, limit, page, put, recording, required, site, source};
use crate::World;
use crate::operation::{Call, ServiceError};

fn parse(world: &World, input: &Value) -> Result<Query, ServiceError> {
    let expression = input.get("Expression").and_then(Value::as_str).unwrap_or_default();
    Query::parse(expression, world.behaviours.config_inner_underscore).map_err(|refusal| match refusal {
        QueryError::Invalid(why) => error("InvalidExpressionException", why),
        QueryError::NotSimulated(what) => ServiceError::not_simulated(format_args!("{what} in {expression}")),
    })
}

/// A page: 25 rows unless asked otherwise, 500 of a query that aggregates, at most 100 if asked for.
fn answer(query: &Query, rows: &[Value], input: &Value, size: &str) -> Result<Value, ServiceError> {
    let size = limit(input, size, if query.aggregates() { 500 } else { 25 })?;
    let (some, next) = page(rows, input, size)?;
    let fields: Vec<Value> = query.fields().into_iter().map(|name| json!({"Name": name})).collect();
    let rows: Vec<String> = some.iter().map(Value::to_string).collect();
    let mut output = json!({"Results": rows, "QueryInfo": {"SelectFields": fields}});
    put(&mut output, "NextToken", next.filter(|_| query.has_pages()));
    Ok(output)
}

pub(super) fn select_aggregate(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    required(input, "ConfigurationAggregatorName")?;
    let query = parse(world, input)?;
    let collection = source::collection(world, call, input)?;
    let rows = query.run(collection.items(query.resource_types()));
    // The service model has two names for the size of a page, with the same meaning.
    let size = if input.get("Limit").is_some() { "Limit" } else { "MaxResults" };
    answer(&query, &rows, input, size)
}

pub(super) fn select(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let query = parse(world, input)?;
    let items = recording::own(world, &site(call));
    answer(&query, &query.run(&items), input, "Limit")
}
