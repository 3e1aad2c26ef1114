//! The tokens that are valid now.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use super::{file::Tokens, grant::Grant, secret::Secret, subject::Certificate};
use crate::clock;

/// How long a token that ends is trusted without reading the clock.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Who may use the service. Cheap to clone; clones share one state.
#[derive(Debug, Clone)]
pub struct Access(Arc<Mode>);

#[derive(Debug)]
enum Mode {
    /// Everybody may do everything.
    Anonymous(Arc<Grant>),
    Tokens(watch::Sender<Arc<Tokens>>),
}

/// Why a token gives no access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is none like it, or no longer.
    Unknown,
    /// It has ended.
    Expired,
}

impl Access {
    /// Everybody may do everything.
    #[must_use]
    pub fn anonymous() -> Self {
        Self(Arc::new(Mode::Anonymous(Arc::new(Grant::anonymous()))))
    }

    /// Only with one of these tokens.
    #[must_use]
    pub fn with(tokens: Tokens) -> Self {
        Self(Arc::new(Mode::Tokens(watch::Sender::new(Arc::new(tokens)))))
    }

    /// What everybody may do without a token; `None` if a token is needed.
    #[must_use]
    pub fn without_token(&self) -> Option<&Arc<Grant>> {
        match &*self.0 {
            Mode::Anonymous(grant) => Some(grant),
            Mode::Tokens(_) => None,
        }
    }

    /// What a client with this token may do, at the time `now` in microseconds since 1970.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn grant(&self, token: &str, now: i64) -> Result<Arc<Grant>, Refused> {
        let secret = Secret::parse(token).ok_or(Refused::Unknown)?;
        self.grant_of(&secret.sha256(), now)
    }

    /// The same for the token with this SHA-256.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn grant_of(&self, sha256: &[u8; 32], now: i64) -> Result<Arc<Grant>, Refused> {
        self.found(now, |tokens| tokens.find(sha256))
    }

    /// The same for a client with this certificate.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn grant_by(&self, certificate: &Certificate, now: i64) -> Result<Arc<Grant>, Refused> {
        let grant = self.found(now, |tokens| tokens.find_subject(&certificate.subject))?;
        if certificate.expires <= now {
            return Err(Refused::Expired);
        }
        Ok(grant)
    }

    fn found(
        &self,
        now: i64,
        find: impl FnOnce(&Tokens) -> Option<&Arc<Grant>>,
    ) -> Result<Arc<Grant>, Refused> {
        let grant = match &*self.0 {
            Mode::Anonymous(grant) => Arc::clone(grant),
            Mode::Tokens(tokens) => find(&tokens.borrow()).cloned().ok_or(Refused::Unknown)?,
        };
        if grant.is_expired(now) {
            return Err(Refused::Expired);
        }
        Ok(grant)
    }

    /// Replaces the tokens. Those that stay owe what they owed.
    pub fn replace(&self, mut tokens: Tokens) {
        if let Mode::Tokens(current) = &*self.0 {
            tokens.owe_as(&current.borrow());
            current.send_replace(Arc::new(tokens));
        }
    }

    /// Waits until a client may no longer do what this allows: the token ended, was revoked, or allows something else now, or
    /// `until` is past, in microseconds since 1970.
    pub async fn ended(self, grant: Arc<Grant>, until: Option<i64>) {
        let Mode::Tokens(tokens) = &*self.0 else {
            return pending().await;
        };
        let mut changes = tokens.subscribe();
        loop {
            let now = clock::now_micros();
            match self.found(now, |tokens| tokens.find_same(&grant)) {
                Ok(current) if current.is_same(&grant) => {}
                _ => return,
            }
            if until.is_some_and(|until| until <= now) {
                return;
            }
            let ends = [grant.expires, until].into_iter().flatten().min();
            let left = ends.map_or(LONGEST_WAIT, |expires| {
                let micros = u64::try_from(expires.saturating_sub(now)).unwrap_or(0);
                // The clock may be set, so it is read again.
                Duration::from_micros(micros).min(LONGEST_WAIT)
            });
            tokio::select! {
                result = changes.changed() => if result.is_err() { return },
                () = sleep(left) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Subject;

    fn tokens(secret: &Secret, rest: &str) -> Tokens {
        let digest = secret.sha256().map(|byte| format!("{byte:02x}")).concat();
        let text = format!("[[token]]\nname = \"a\"\nsha256 = \"{digest}\"\n{rest}\n");
        Tokens::parse(&text).unwrap()
    }

    #[test]
    fn a_token_gives_access_until_it_ends_or_is_gone() {
        let secret = Secret::new();
        let access = Access::with(tokens(&secret, "expires = 1970-01-01T00:00:01Z"));
        let ask = |now| {
            access
                .grant(secret.reveal(), now)
                .map(|grant| grant.name.clone())
        };
        assert_eq!(ask(999_999), Ok(Some("a".into())));
        assert_eq!(ask(1_000_000), Err(Refused::Expired));
        assert!(access.grant(Secret::new().reveal(), 0).is_err());
        assert!(access.grant("", 0).is_err());
        access.replace(tokens(&Secret::new(), ""));
        assert_eq!(ask(0), Err(Refused::Unknown));
    }

    #[tokio::test(start_paused = true)]
    async fn a_grant_ends_with_its_token_and_not_when_others_change() {
        let secret = Secret::new();
        let access = Access::with(tokens(&secret, ""));
        let grant = access.grant(secret.reveal(), 0).unwrap();
        let mut ended = Box::pin(access.clone().ended(grant, None));
        assert!(futures::poll!(&mut ended).is_pending());
        access.replace(tokens(&secret, "rate = \"1/s\""));
        assert!(futures::poll!(&mut ended).is_pending());
        access.replace(tokens(&secret, "read = [\"a\"]"));
        ended.await;
        let grant = access.grant(secret.reveal(), 0).unwrap();
        access.replace(tokens(&Secret::new(), ""));
        access.clone().ended(grant, None).await;
        let everybody = Access::anonymous();
        let grant = Arc::clone(everybody.without_token().unwrap());
        assert!(futures::poll!(Box::pin(everybody.ended(grant, None))).is_pending());
    }

    #[test]
    fn a_token_owes_after_a_reload_what_it_owed_unless_its_rate_is_another() {
        let secret = Secret::new();
        let access = Access::with(tokens(&secret, "rate = \"1/s\""));
        let now = std::time::Instant::now();
        let spend = || {
            let grant = access.grant(secret.reveal(), 0).unwrap();
            grant.rate.as_ref().unwrap().spend(1, now)
        };
        assert!(spend().is_ok() && spend().is_err());
        access.replace(tokens(&secret, "rate = \"1/s\"\nadmin = true"));
        assert!(spend().is_err());
        access.replace(tokens(&secret, "rate = \"2/s\""));
        assert!(spend().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_gives_access_until_it_or_its_entry_ends() {
        let of = |rest: &str| {
            let text = format!("[[token]]\nname = \"a\"\nsubject = \"CN=a\"\n{rest}");
            Tokens::parse(&text).unwrap()
        };
        let access = Access::with(of("expires = 1970-01-01T00:00:02Z"));
        let certificate = |name: &str| Certificate {
            subject: Subject::parse(name).unwrap(),
            expires: 1_000_000,
        };
        let ask = |name, now| access.grant_by(&certificate(name), now).err();
        assert_eq!(ask("CN=a", 999_999), None);
        assert_eq!(ask("CN=a", 1_000_000), Some(Refused::Expired));
        assert_eq!(ask("CN=b", 0), Some(Refused::Unknown));
        access.replace(of(""));
        let grant = access.grant_by(&certificate("CN=a"), 0).unwrap();
        access
            .clone()
            .ended(Arc::clone(&grant), Some(1_000_000))
            .await;
        let mut ended = Box::pin(access.clone().ended(grant, None));
        assert!(futures::poll!(&mut ended).is_pending());
        access.replace(Tokens::default());
        ended.await;
    }

    #[test]
    fn without_tokens_everybody_may_do_everything() {
        let access = Access::anonymous();
        let grant = access.without_token().unwrap();
        assert!(grant.admin && grant.reads_everything() && grant.publish.includes("a.b"));
        assert!(Access::with(Tokens::default()).without_token().is_none());
    }
}
