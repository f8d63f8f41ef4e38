//! The stream that tests of queues take messages from.

use async_nats::jetstream::{self, stream};

use super::broker::Server;

impl Server {
    /// JetStream of this broker, for the test.
    pub(crate) async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(self.url()).await.unwrap())
    }

    /// A stream `ORDERS`.
    pub(crate) async fn orders(&self) -> jetstream::Context {
        let jetstream = self.jetstream().await;
        create(&jetstream, "orders.>").await;
        jetstream
    }
}

/// Creates the stream `ORDERS` with `subjects`, which have commas between them.
pub(crate) async fn create(jetstream: &jetstream::Context, subjects: &str) {
    let config = stream::Config {
        name: "ORDERS".to_owned(),
        subjects: subjects.split(',').map(str::to_owned).collect(),
        ..stream::Config::default()
    };
    jetstream.create_stream(config).await.unwrap();
}

/// Publishes the numbers from `from` on, `count` of them, and waits until the stream has them.
pub(crate) async fn publish(jetstream: &jetstream::Context, from: usize, count: usize) {
    let mut acks = Vec::new();
    for number in from..from + count {
        acks.push(jetstream.publish("orders.new", number.to_string().into()).await.unwrap());
    }
    for ack in acks {
        ack.await.unwrap();
    }
}
