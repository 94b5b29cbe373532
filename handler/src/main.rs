//! The entry point of the Lambda artifact: `_HANDLER` says which function it is.

#![recursion_limit = "256"]

use handler::function::Function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(tracing::Level::INFO)
        .init();
    let served = async {
        let handler = std::env::var("_HANDLER")?;
        handler.parse::<Function>()?.serve().await
    };
    served.await.inspect_err(|error| tracing::error!(outcome = "not started", reason = %error))
}
