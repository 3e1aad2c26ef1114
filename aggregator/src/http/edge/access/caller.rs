//! Who sent a request, for its handler.

use std::{convert::Infallible, sync::Arc, time::Instant};

use axum::{extract::FromRequestParts, http::request::Parts};
use shared::publish::Outgoing;

use crate::{
    access::{Access, Grant},
    http::edge::problem::Problem,
    store::query::Visible,
};

/// Who sent a request, and what they may do.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What they may do.
    pub grant: Arc<Grant>,
    access: Access,
}

/// The same, for routes that need no token.
#[derive(Debug, Clone)]
pub struct MaybeCaller(pub Option<Caller>);

impl Caller {
    pub(super) fn new(grant: Arc<Grant>, access: Access) -> Self {
        Self { grant, access }
    }

    /// Waits until they may no longer do that, for responses without an end.
    pub async fn ended(self) {
        self.access.ended(self.grant).await;
    }

    /// The topics that may be in the response to a request that names `topics`.
    ///
    /// # Errors
    /// 403 if one of those may not be read, whether there is such a topic or not.
    pub fn visible<T: AsRef<str>>(
        &self,
        topics: impl IntoIterator<Item = T>,
    ) -> Result<Visible, Problem> {
        for topic in topics {
            let topic = topic.as_ref();
            if !self.grant.read.includes(topic) {
                return Err(Problem::lacks_topic("read", topic));
            }
        }
        Ok(Visible::of(Arc::clone(&self.grant.read)))
    }

    /// Checks events that are to be published, all of them before any is, and counts them.
    ///
    /// # Errors
    /// 403 if one is of a topic that may not be published; 429 if the token's rate does not allow them now.
    pub fn check_publish(&self, events: &[Outgoing]) -> Result<(), Problem> {
        let topics = events.iter().map(|event| event.topic.as_str());
        if let Some(topic) = topics
            .into_iter()
            .find(|topic| !self.grant.publish.includes(topic))
        {
            return Err(Problem::lacks_topic("publish", topic));
        }
        let Some(rate) = &self.grant.rate else {
            return Ok(());
        };
        rate.spend(events.len(), Instant::now())
            .map_err(|pause| Problem::rate_exceeded(rate.per_second().get(), pause))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // There is one for every route that needs a token.
        parts
            .extensions
            .get()
            .cloned()
            .ok_or_else(Problem::no_token)
    }
}

impl<S: Sync> FromRequestParts<S> for MaybeCaller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get().cloned()))
    }
}
