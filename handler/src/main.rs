//! The entry point of the Lambda artifact: `_HANDLER` says which function it is.

#![recursion_limit = "256"]

use handler::function::Function;
use tracing_subscriber::util::SubscriberInitExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    handler::log::written_to(std::io::stdout).init();
    let served = async {
        let handler = std::env::var("_HANDLER")?;
        handler.parse::<Function>()?.serve().await
    };
    served.await.inspect_err(|error| tracing::error!(outcome = "not started", reason = %error))
}
