//! The one conformance suite of `log_api::Log`, against both logs: inside the process, and over TCP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use log_broker::{Broker, BrokerConfig};
use log_kafka::{Kafka, KafkaConfig};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

fn broker(folder: &tempfile::TempDir) -> Broker {
    let data_dir = folder.path().to_path_buf();
    Broker::open(BrokerConfig {
        data_dir,
        ..BrokerConfig::default()
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    log_api::conformance::run(&broker.embedded()).await;
    broker.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_over_tcp_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(&folder);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn({
        let broker = broker.clone();
        async move {
            let until = async {
                let _ = stopped.await;
            };
            broker.serve(listener, until).await
        }
    });
    let kafka = Kafka::connect(KafkaConfig::new(address.to_string())).unwrap();
    log_api::conformance::run(&kafka).await;
    drop(kafka);
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    broker.close().await.unwrap();
}

#[test]
fn a_wrong_property_is_named() {
    let mut config = KafkaConfig::new("127.0.0.1:1");
    config
        .properties
        .insert("security.protcol".to_owned(), "ssl".to_owned());
    let error = Kafka::connect(config).err().unwrap();
    assert!(error.to_string().contains("security.protcol"), "{error}");
}
