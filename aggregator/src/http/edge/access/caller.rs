//! Who sent a request, for its handler.

use std::{convert::Infallible, future::pending, sync::Arc, time::Instant};

use axum::{extract::FromRequestParts, http::request::Parts};
use shared::publish::Outgoing;

use super::sessions::Session;
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
    way: Way,
}

/// How they showed who they are.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// By a token, or not at all if nobody needs one.
    Token,
    /// By the session of a browser.
    Session(Session),
    /// By a client certificate that ends at this time, in microseconds since 1970.
    Certificate { expires: i64 },
}

/// The same, for routes that need no token.
#[derive(Debug, Clone)]
pub struct MaybeCaller(pub Option<Caller>);

impl Caller {
    pub(super) fn new(grant: Arc<Grant>, access: Access, way: Way) -> Self {
        Self { grant, access, way }
    }

    /// Waits until they may no longer do that, for responses without an end: until the token, the session or the
    /// certificate ends.
    pub async fn ended(self) {
        let (session, certificate_ends) = match self.way {
            Way::Token => (None, None),
            Way::Session(session) => (Some(session), None),
            Way::Certificate { expires } => (None, Some(expires)),
        };
        let session = async {
            match session {
                Some(session) => session.ended().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.access.ended(self.grant, certificate_ends) => {}
            () = session => {}
        }
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

    /// Checks events that are to be published, all of them before any is.
    ///
    /// # Errors
    /// 403 if one is of a topic that may not be published.
    pub fn check_publish(&self, events: &[Outgoing]) -> Result<(), Problem> {
        let topics = events.iter().map(|event| event.topic.as_str());
        if let Some(topic) = topics
            .into_iter()
            .find(|topic| !self.grant.publish.includes(topic))
        {
            return Err(Problem::lacks_topic("publish", topic));
        }
        Ok(())
    }

    /// Counts events that are about to be published.
    ///
    /// # Errors
    /// 429 if the token's rate does not allow them now.
    pub fn spend(&self, events: usize) -> Result<(), Problem> {
        let Some(rate) = &self.grant.rate else {
            return Ok(());
        };
        rate.spend(events, Instant::now())
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use axum::{http::header, response::IntoResponse};

    use super::*;
    use crate::access::Rate;

    #[test]
    fn events_beyond_the_rate_of_a_token_are_refused_with_the_time_to_wait() {
        let grant = Grant {
            rate: Some(Rate::new(NonZeroU32::MIN)),
            ..Grant::anonymous()
        };
        let caller = Caller::new(Arc::new(grant), Access::anonymous(), Way::Token);
        assert!(caller.spend(100).is_ok());
        let answer = caller.spend(100).unwrap_err().into_response();
        assert_eq!(answer.status(), 429);
        let pause = answer.headers()[header::RETRY_AFTER].to_str().unwrap();
        assert!(
            (1..=100).contains(&pause.parse::<u64>().unwrap()),
            "{pause}"
        );
    }
}
