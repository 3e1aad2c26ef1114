//! Publishers with known truth, over HTTP and NATS, that continue through all faults.

use std::{sync::Arc, time::Duration};

use async_nats::{ConnectOptions, jetstream};
use e2e::{api::Api, broker::users::Users, event::array};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::truth::{Truth, event, name};

/// Pause between two messages of a publisher, so that the load is steady and bounded.
const PAUSE: Duration = Duration::from_millis(8);

/// How long a publisher waits for its `PubAck`.
const PATIENCE: Duration = Duration::from_secs(5);

/// Events of the largest message.
const MOST: u32 = 40;

/// The publishers; they end when this is dropped.
pub struct Generator {
    token: CancellationToken,
    tasks: JoinSet<()>,
}

impl Generator {
    /// Starts them; those over HTTP send to these aggregators in turn.
    pub fn start(
        truth: &Arc<Truth>,
        apis: &[&Api],
        (nats_url, users): (&str, &Users),
        seed: u64,
    ) -> Self {
        let token = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for (number, api) in (0..2).zip(apis.iter().cycle()) {
            let random = ChaCha8Rng::seed_from_u64(seed.wrapping_add(number));
            let (truth, api) = (Arc::clone(truth), (*api).clone());
            tasks.spawn(over_http(truth, api, random, token.clone()));
        }
        for number in 2..4 {
            let random = ChaCha8Rng::seed_from_u64(seed.wrapping_add(number));
            let (truth, url) = (Arc::clone(truth), nats_url.to_owned());
            let options = users.options("publisher");
            tasks.spawn(over_nats(truth, (url, options), random, token.clone()));
        }
        Self { token, tasks }
    }

    /// Lets each finish its current message, and ends them.
    pub async fn stop(mut self) {
        self.token.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a publisher does not panic");
        }
    }
}

async fn over_http(truth: Arc<Truth>, api: Api, mut random: ChaCha8Rng, token: CancellationToken) {
    while !token.is_cancelled() {
        let chosen = truth.choose(random.random_range(1..=MOST), &mut random);
        let events: Vec<_> = chosen.iter().copied().map(event).collect();
        if api.try_publish(&events).await.is_ok() {
            truth.confirm(&chosen);
        }
        sleep(PAUSE).await;
    }
}

async fn over_nats(
    truth: Arc<Truth>,
    (url, options): (String, ConnectOptions),
    mut random: ChaCha8Rng,
    token: CancellationToken,
) {
    let client = options
        .retry_on_initial_connect()
        .connect(url.split(',').collect::<Vec<_>>())
        .await
        .expect("valid options");
    let context = jetstream::new(client);
    while !token.is_cancelled() {
        let chosen = truth.choose(random.random_range(1..=MOST), &mut random);
        let subject = format!("events.{}", name(chosen[0].0));
        let events: Vec<_> = chosen.iter().copied().map(event).collect();
        let sent = async {
            let ack = context.publish(subject, array(&events).into()).await;
            ack.ok()?.await.ok()
        };
        if let Ok(Some(_)) = timeout(PATIENCE, sent).await {
            truth.confirm(&chosen);
        }
        sleep(PAUSE).await;
    }
}
