//! The simulation as the SDK's HTTP client, and the path of one request through it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_smithy_async::rt::sleep::AsyncSleep;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;

use crate::driver::SimulatedAws;
use crate::fault::Fault;
use crate::operation::ServiceError;
use crate::protocol::{self, WireRequest, WireResponse};

/// An HTTP client for one function invocation, or for a test. A crash marks it, and whoever runs the code drops it.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    aws: SimulatedAws,
    crashed: Arc<AtomicBool>,
}

impl Connector {
    pub(crate) fn new(aws: SimulatedAws) -> Self {
        Self { aws, crashed: Arc::default() }
    }

    pub(crate) fn crashed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.crashed)
    }

    async fn serve(self, request: WireRequest) -> Result<WireResponse, ConnectorError> {
        let latency = Duration::try_from(self.aws.world().latency).unwrap_or_default();
        if !latency.is_zero() {
            self.aws.sleep(latency / 2).await;
        }
        let served = serve(&self.aws, &request);
        if !latency.is_zero() {
            self.aws.sleep(latency / 2).await;
        }
        match served {
            Served::Answer(response) => Ok(response),
            Served::Silence => {
                Err(ConnectorError::timeout(format!("no answer from {}{}", request.host, request.path).into()))
            }
            Served::Never => std::future::pending().await,
            Served::Crash => {
                self.crashed.store(true, Ordering::SeqCst);
                std::future::pending().await
            }
        }
    }
}

/// How a request ended.
pub(crate) enum Served {
    /// With a response.
    Answer(WireResponse),
    /// The client hears nothing.
    Silence,
    /// The client hears nothing, and its connection stays open.
    Never,
    /// The caller is dead.
    Crash,
}

/// Serves one request against the world as it is now.
pub(crate) fn serve(aws: &SimulatedAws, request: &WireRequest) -> Served {
    let world = &mut *aws.world();
    if request.header("authorization").is_none()
        && let Some(served) = crate::cloudformation::serve_unsigned(world, request)
    {
        return served;
    }
    let incoming = match protocol::read(world, request) {
        Ok(incoming) => incoming,
        Err(response) => return Served::Answer(response),
    };
    let protocol::Incoming { operation, call, input } = incoming;
    let answer =
        |outcome: Result<_, ServiceError>| Served::Answer(protocol::write(&operation, &outcome, &call.request_id));
    let perform = |world: &mut crate::World| {
        let outcome = world.perform(&operation, &call, &input);
        world.record(&operation, &call, input.clone(), &outcome);
        outcome
    };
    match world.fault_for(&operation, &call, &input) {
        None => answer(perform(world)),
        Some(Fault::Throttle) => answer(Err(ServiceError::new("ThrottlingException", "Rate exceeded"))),
        Some(Fault::ServerError) => {
            answer(Err(ServiceError::new("InternalFailure", "an internal error occurred").with_status(500)))
        }
        Some(Fault::Timeout) => Served::Silence,
        Some(Fault::Hang) => Served::Never,
        Some(Fault::Refuse(error)) => answer(Err(error)),
        Some(Fault::LostAnswer) => {
            let _ = perform(world);
            Served::Silence
        }
        Some(Fault::CrashBefore) => Served::Crash,
        Some(Fault::CrashAfter) => {
            let _ = perform(world);
            Served::Crash
        }
        Some(Fault::Meanwhile(step)) => {
            step(world);
            answer(perform(world))
        }
        Some(Fault::Alter(alter)) => answer(perform(world).map(|mut output| {
            alter(&mut output);
            output
        })),
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let uri: http::Uri = match request.uri().parse() {
            Ok(uri) => uri,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(Box::new(error)))),
        };
        let Some(body) = request.body().bytes() else {
            return HttpConnectorFuture::ready(Err(ConnectorError::user("the simulation takes no streams".into())));
        };
        let wire = WireRequest {
            method: request.method().to_owned(),
            host: uri.host().unwrap_or_default().to_owned(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            headers: request
                .headers()
                .iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: body.to_vec(),
        };
        let connector = self.clone();
        HttpConnectorFuture::new(async move {
            let answer = connector.serve(wire).await?;
            let status = answer.status.try_into().map_err(|error| ConnectorError::user(Box::new(error)))?;
            let mut response = HttpResponse::new(status, SdkBody::from(answer.body));
            for (name, value) in answer.headers {
                response.headers_mut().insert(name, value);
            }
            Ok(response)
        })
    }
}

impl HttpClient for Connector {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
