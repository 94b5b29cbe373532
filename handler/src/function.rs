//! Which of the artifact's functions a Lambda function is, by its configured handler.

use std::str::FromStr;
use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{LambdaEvent, service_fn};

use crate::check_images::CheckImages;
use crate::clients::Clients;
use crate::provider::{Invocation, Provider};
use crate::schedule_checks::ScheduleChecks;
use crate::sweep::Sweep;
use crate::text::Quoted;

/// A function of the artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `provider`
    Provider,
    /// `schedule-checks`
    ScheduleChecks,
    /// `check-images`
    CheckImages,
    /// `sweep`
    Sweep,
}

/// Why a configured handler is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this artifact has no function {0}; it has \"provider\", \"schedule-checks\", \"check-images\" and \"sweep\"")]
pub struct UnknownFunction(Quoted);

impl FromStr for Function {
    type Err = UnknownFunction;

    fn from_str(handler: &str) -> Result<Self, UnknownFunction> {
        match handler {
            "provider" => Ok(Self::Provider),
            "schedule-checks" => Ok(Self::ScheduleChecks),
            "check-images" => Ok(Self::CheckImages),
            "sweep" => Ok(Self::Sweep),
            _ => Err(UnknownFunction(Quoted::of(handler))),
        }
    }
}

impl Function {
    /// Takes invocations from the Lambda runtime API until the process ends.
    ///
    /// # Errors
    /// The function's environment lacks something, or the runtime API cannot be reached.
    pub async fn serve(self) -> Result<(), lambda_runtime::Error> {
        let clients = Arc::new(Clients::from_environment().await);
        let clock = clients.clock();
        match self {
            Self::Provider => {
                let connector = crate::clients::https_connector();
                let provider = &Provider::new(clients.base(), connector, |name| std::env::var(name).ok())?;
                let handle = async |event: LambdaEvent<serde_json::Value>| {
                    let deadline = i64::try_from(event.context.deadline).map(jiff::Timestamp::from_millisecond)??;
                    let invocation = Invocation { function_arn: &event.context.invoked_function_arn, deadline };
                    provider.handle(event.payload, invocation).await.map_err(lambda_runtime::Error::from)
                };
                lambda_runtime::run(service_fn(handle)).await
            }
            Self::ScheduleChecks => {
                let function = &ScheduleChecks::new(clients, clock);
                let handle = async |event: LambdaEvent<SqsEvent>| {
                    Ok::<_, std::convert::Infallible>(function.handle(event.payload).await)
                };
                lambda_runtime::run(service_fn(handle)).await
            }
            Self::CheckImages => {
                let function = &CheckImages::new(clients, clock);
                let handle = async |event: LambdaEvent<SqsEvent>| {
                    Ok::<_, std::convert::Infallible>(function.handle(event.payload).await)
                };
                lambda_runtime::run(service_fn(handle)).await
            }
            Self::Sweep => {
                let function = &Sweep::new(clients, clock);
                let handle = async |event: LambdaEvent<SqsEvent>| {
                    Ok::<_, std::convert::Infallible>(function.handle(event.payload).await)
                };
                lambda_runtime::run(service_fn(handle)).await
            }
        }
    }
}
