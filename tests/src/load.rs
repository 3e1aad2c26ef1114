//! Clients that send requests all the time, while something is replaced.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::task::JoinSet;

use crate::{
    api::Api,
    event::events,
    wait::{eventually, holds},
};

/// The clients.
#[derive(Debug, Default)]
pub struct Load {
    progress: Progress,
    clients: JoinSet<Result<(), String>>,
}

/// What a client sees of the others. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

impl Progress {
    /// Whether the client sends another request.
    pub fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// A request was answered as it must be.
    pub fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}

impl Load {
    /// Adds a client, which ends with an error if a request fails.
    pub fn add<F>(&mut self, client: impl FnOnce(Progress) -> F)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.clients.spawn(client(self.progress.clone()));
    }

    /// Adds a client that publishes an event with each request.
    pub fn publishes(&mut self, api: &Api, topic: &'static str) {
        let api = api.clone();
        self.add(|progress| async move {
            for number in 0.. {
                if !progress.goes_on() {
                    break;
                }
                let event = events(topic, number..number + 1);
                api.try_publish(&event).await?;
                progress.answered();
            }
            Ok(())
        });
    }

    /// Waits until this many more requests are answered.
    ///
    /// Panics if one has failed.
    pub async fn answers(&mut self, more: u64) {
        let answered = || self.progress.answered.load(Ordering::Relaxed);
        let least = answered() + more;
        eventually("requests are answered", async || {
            if let Some(ended) = self.clients.try_join_next() {
                panic!("a client has ended: {ended:?}");
            }
            let answered = self.progress.answered.load(Ordering::Relaxed);
            holds(answered >= least, answered)
        })
        .await;
    }

    /// Stops the clients. Returns the number of requests that were answered.
    ///
    /// Panics if one has failed.
    pub async fn ended(self) -> u64 {
        self.progress.is_over.store(true, Ordering::Relaxed);
        for client in self.clients.join_all().await {
            client.expect("no request fails");
        }
        self.progress.answered.load(Ordering::Relaxed)
    }
}
