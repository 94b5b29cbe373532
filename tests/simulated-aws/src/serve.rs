//! The simulation as an HTTP server on loopback, for other languages' SDKs.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::TcpListener;

use crate::connector::{Served, serve as serve_request};
use crate::driver::SimulatedAws;
use crate::protocol::{self, WireRequest};

/// Serves `aws` on `listener` until the process ends. Virtual time follows the wall clock, whose reading is asked
/// before each request. An access key of 12 digits is the administrator of that account, which is made if need be.
///
/// # Errors
/// When the listener fails.
pub async fn serve(aws: SimulatedAws, listener: TcpListener, wall_clock: fn() -> Timestamp) -> std::io::Result<()> {
    loop {
        let (stream, _): (_, SocketAddr) = listener.accept().await?;
        let aws = aws.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(aws.clone(), request, wall_clock));
            // A client that hangs up is not our error.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    aws: SimulatedAws,
    request: Request<Incoming>,
    wall_clock: fn() -> Timestamp,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let wire = WireRequest {
        method: parts.method.as_str().to_owned(),
        host: parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_ascii_lowercase(), value.to_str().ok()?.to_owned())))
            .collect(),
        body: body.collect().await?.to_bytes().to_vec(),
    };
    if let Some(principal) = protocol::account_of_key(&wire)
        && let Some(account) = principal.account()
    {
        aws.world().add_account(account);
    }
    aws.advance_to(wall_clock());
    let answer = match serve_request(&aws, &wire) {
        Served::Answer(answer) => answer,
        // Only fault plans make these, and a server has none.
        Served::Silence | Served::Never | Served::Crash => {
            protocol::WireResponse { status: 500, headers: Vec::new(), body: Vec::new() }
        }
    };
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(Bytes::from(answer.body))).unwrap_or_else(|_| Response::new(Full::default())))
}
