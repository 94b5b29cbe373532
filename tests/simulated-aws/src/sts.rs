//! AWS STS.

use serde_json::{Value, json};

use crate::World;
use crate::operation::{Access, Call, Operation, Protocol, Service, ServiceError};

static SERVICE: Service = Service {
    signing_name: "sts",
    model: "sts",
    protocol: Protocol::Query { namespace: "https://sts.amazonaws.com/doc/2011-06-15/" },
};

pub(crate) fn operations() -> Vec<Operation> {
    vec![Operation {
        service: &SERVICE,
        name: "GetCallerIdentity",
        members: &[],
        http: None,
        // No permission is needed, and none can be denied (STS API reference, GetCallerIdentity).
        authorize: |_, _, _| Ok(Vec::<Access>::new()),
        handle: get_caller_identity,
    }]
}

fn get_caller_identity(_: &mut World, call: &Call, _: &Value) -> Result<Value, ServiceError> {
    Ok(
        json!({"Account": call.account.as_str(), "Arn": call.principal.arn(), "UserId": format!("AIDA{}", call.account)}),
    )
}
