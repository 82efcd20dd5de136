//! A broker and nothing else.
use log_broker::{Broker, BrokerConfig};
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("folder")?;
    let address = args.next().ok_or("address")?;
    let broker = Broker::open(BrokerConfig::in_folder(folder))?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    broker.serve(listener, tokio::signal::ctrl_c()).await?;
    broker.close().await?;
    Ok(())
}
