//! Serves the simulated AWS over HTTP on loopback.

use clap::Parser;
use jiff::Timestamp;
use simulated_aws::SimulatedAws;
use tokio::net::TcpListener;

/// A simulated AWS for any SDK: point its endpoint here. An access key id of 12 digits is the administrator of that account.
#[derive(Debug, Parser)]
struct Arguments {
    /// The port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// The seed of all that is random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[expect(clippy::disallowed_methods, reason = "a server for other processes follows their clock")]
fn wall_clock() -> Timestamp {
    Timestamp::now()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let listener = TcpListener::bind(("127.0.0.1", arguments.port)).await?;
    println!("simulated AWS on http://{}", listener.local_addr()?);
    simulated_aws::serve(SimulatedAws::starting_at(arguments.seed, wall_clock()), listener, wall_clock).await
}
