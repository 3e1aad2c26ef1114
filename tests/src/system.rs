//! A broker and an aggregator for one test.

use std::path::Path;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use tempfile::TempDir;

use crate::{
    aggregator::Aggregator,
    api::Api,
    books::Books,
    broker::Broker,
    publisher::{self, Publisher, Run},
    store::Store,
};

/// A broker, an aggregator on it, and the aggregator's data. All of it is removed when this is dropped.
#[derive(Debug)]
pub struct System {
    /// Dropped before the services it depends on.
    pub aggregator: Aggregator,
    /// The broker.
    pub broker: Broker,
    data: TempDir,
}

impl System {
    /// Starts both and waits until the aggregator is healthy.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Like [`Self::start`], with flags for the aggregator.
    pub async fn with(flags: &[&str]) -> Self {
        Self::on(Broker::start().await, flags).await
    }

    /// Like [`Self::with`], on a broker that was started.
    pub async fn on(broker: Broker, flags: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory can be created");
        let aggregator = Aggregator::start(&broker.url_of("aggregator"), data.path(), flags).await;
        aggregator.healthy().await;
        Self {
            aggregator,
            broker,
            data,
        }
    }

    /// The aggregator's API.
    pub fn api(&self) -> &Api {
        self.aggregator.api()
    }

    /// Publishes a body to the stream, like any NATS client.
    pub async fn put(&self, subject: &str, body: &str) {
        let jetstream = self.broker.jetstream().await;
        let sent = jetstream
            .publish(subject.to_owned(), body.to_owned().into())
            .await;
        let acked = sent.expect("the broker is connected").await;
        acked.expect("the stream accepts it");
    }

    /// Waits until everything in the stream is applied, and returns the books, which must balance.
    pub async fn settled(&self) -> Books {
        self.api().settled().await
    }

    /// The aggregator's data directory.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Resets the aggregator's durable to the first message, as if no ack had ever reached the broker. The aggregator
    /// must not be running.
    pub async fn wind_back(&self) {
        let jetstream = self.broker.jetstream().await;
        let stream = jetstream.get_stream("EVENTS").await.expect("a stream");
        let info = stream.consumer_info("aggregator").await;
        let info = info.expect("a durable");
        assert_eq!(info.num_ack_pending, 0, "everything was acked");
        let deleted = stream.delete_consumer("aggregator").await;
        deleted.expect("a durable can be deleted");
        let config = pull::Config {
            durable_name: info.config.durable_name,
            description: info.config.description,
            deliver_policy: DeliverPolicy::All,
            ack_policy: info.config.ack_policy,
            ack_wait: info.config.ack_wait,
            max_deliver: info.config.max_deliver,
            replay_policy: info.config.replay_policy,
            max_ack_pending: info.config.max_ack_pending,
            ..pull::Config::default()
        };
        let created = stream.create_consumer(config).await;
        created.expect("a durable can be created");
    }

    /// The aggregator's database.
    pub fn store(&self) -> Store {
        Store::of(self.data.path())
    }

    /// Starts a publisher on the broker.
    pub fn publisher(&self, arguments: &[&str]) -> Publisher {
        Publisher::start(&self.broker.url_of("publisher"), arguments)
    }

    /// Starts a publisher on the broker that sends until [`Publisher::finished`].
    pub fn endless_publisher(&self) -> Publisher {
        Publisher::endless(&self.broker.url_of("publisher"), self.api().url())
    }

    /// Runs a publisher on the broker to its end.
    pub async fn publish(&self, arguments: &[&str]) -> Run {
        publisher::publish(&self.broker.url_of("publisher"), arguments).await
    }
}
