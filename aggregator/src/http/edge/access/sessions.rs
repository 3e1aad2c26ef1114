//! Sessions of browsers: a cookie in place of a token, from signing in until signing out, until the token ends, or for 12 hours.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderValue, header};
use rand::{TryRngCore, rngs::OsRng};
use sha2::{Digest, Sha256};
use tokio::time::sleep_until;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a session lasts.
const LENGTH: Duration = Duration::from_secs(12 * 3_600);

/// Sessions at a time; beyond it the oldest ends.
const MOST: usize = if cfg!(test) { 5 } else { 10_000 };

/// Of these with one token, so that one that signs in again and again does not end the sessions of others.
const MOST_OF_A_TOKEN: usize = if cfg!(test) { 3 } else { 20 };

/// The name of the cookie.
const COOKIE: &str = "aggregator_session";

/// The sessions since the start; a restart ends them. Cheap to clone; clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Sessions(Arc<Mutex<Known>>);

/// The sessions by the hashes of their ids. Removing one ends the responses that it opened.
type Known = HashMap<[u8; 32], (Session, DropGuard)>;

/// A session.
#[derive(Debug, Clone)]
pub struct Session {
    /// The SHA-256 of the token.
    pub token: [u8; 32],
    began: Instant,
    ended: CancellationToken,
}

impl Sessions {
    /// Begins a session with the token that has this SHA-256. Returns its id, the value of the cookie.
    pub fn begin(&self, token: [u8; 32], now: Instant) -> String {
        let mut random = [0; 32];
        OsRng
            .try_fill_bytes(&mut random)
            .expect("the system has random numbers");
        let id = random.map(|byte| format!("{byte:02x}")).concat();
        let mut known = self.known();
        known.retain(|_, (session, _)| !session.is_over(now));
        keep_fewer(&mut known, MOST_OF_A_TOKEN, |session| {
            session.token == token
        });
        keep_fewer(&mut known, MOST, |_| true);
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let session = Session {
            token,
            began: now,
            ended,
        };
        known.insert(key(&id), (session, guard));
        id
    }

    /// The session with this id, if it is not over.
    pub fn find(&self, id: &str, now: Instant) -> Option<Session> {
        let known = self.known();
        let (session, _) = known.get(&key(id))?;
        (!session.is_over(now)).then(|| session.clone())
    }

    /// Ends a session.
    pub fn end(&self, id: &str) {
        self.known().remove(&key(id));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= LENGTH
    }

    /// Waits until it is over.
    pub async fn ended(self) {
        let end = self.began + LENGTH;
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = sleep_until(end.into()) => {}
        }
    }
}

/// Ends the oldest of some sessions if there are `most` of them.
fn keep_fewer(known: &mut Known, most: usize, is_counted: impl Fn(&Session) -> bool) {
    let counted = known.iter().filter(|(_, (session, _))| is_counted(session));
    if counted.clone().count() < most {
        return;
    }
    let oldest = counted.min_by_key(|(_, (session, _))| session.began);
    if let Some(oldest) = oldest.map(|(key, _)| *key) {
        known.remove(&oldest);
    }
}

/// Not the id but its hash is kept and looked up, so the time of a lookup reveals nothing about an id.
fn key(id: &str) -> [u8; 32] {
    Sha256::digest(id).into()
}

/// The id of the session that a request names.
pub fn id(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let cookies = lines.filter_map(|line| line.to_str().ok());
    let mut cookies = cookies.flat_map(|line| line.split(';'));
    cookies.find_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    })
}

/// The header `Set-Cookie` that begins a session with this id, or that ends the current one. No page of another site sends the
/// cookie along, and no script can read it.
pub fn cookie(id: Option<&str>, is_encrypted: bool) -> HeaderValue {
    let (id, seconds) = id.map_or(("", 0), |id| (id, LENGTH.as_secs()));
    let secure = if is_encrypted { "; Secure" } else { "" };
    let cookie =
        format!("{COOKIE}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}");
    HeaderValue::try_from(cookie).expect("an id is made of hexadecimal digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_until_it_ends_or_for_twelve_hours() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (one, other) = (sessions.begin([1; 32], now), sessions.begin([2; 32], now));
        assert_ne!(one, other);
        let token = |id: &str, now| sessions.find(id, now).map(|session| session.token);
        assert_eq!(token(&one, now), Some([1; 32]));
        assert_eq!(token(&other, now), Some([2; 32]));
        assert_eq!(token("", now), None);
        assert_eq!(token(&other, now + LENGTH), None);
        sessions.end(&one);
        assert_eq!(token(&one, now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_session_opened_ends_with_it() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let ended = |id: &str| Box::pin(sessions.find(id, start).unwrap().ended());
        let (one, other) = (
            sessions.begin([1; 32], start),
            sessions.begin([1; 32], start),
        );
        let (mut of_one, mut of_other) = (ended(&one), ended(&other));
        sessions.end(&one);
        assert!(futures::poll!(&mut of_one).is_ready());
        assert!(futures::poll!(&mut of_other).is_pending());
        tokio::time::advance(LENGTH + Duration::from_secs(1)).await;
        assert!(futures::poll!(&mut of_other).is_ready());
    }

    #[test]
    fn the_oldest_session_gives_way_first_of_the_same_token_then_of_all() {
        let start = Instant::now();
        for (tokens, expected) in [
            ([2, 1, 1, 1, 1, 1], [true, false, false, true, true, true]),
            ([1, 2, 3, 4, 5, 6], [false, true, true, true, true, true]),
        ] {
            let sessions = Sessions::default();
            let begin =
                |(second, token)| sessions.begin([token; 32], start + Duration::from_secs(second));
            let ids: Vec<_> = (0..).zip(tokens).map(begin).collect();
            let is_known = |id: &String| sessions.find(id, start).is_some();
            let known: Vec<_> = ids.iter().map(is_known).collect();
            assert_eq!(known, expected);
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, HeaderValue::from_static(line));
            }
            id(&headers).map(str::to_owned)
        };
        assert_eq!(
            of(&["a=b; aggregator_session=1; c=d"]).as_deref(),
            Some("1")
        );
        assert_eq!(of(&["a=b", "aggregator_session=1"]).as_deref(), Some("1"));
        assert_eq!(of(&["xaggregator_session=1; aggregator_session"]), None);
        let set = cookie(Some("1"), true);
        let set = set.to_str().unwrap();
        for part in [
            "HttpOnly",
            "SameSite=Strict",
            "Path=/",
            "Max-Age=43200",
            "Secure",
        ] {
            assert!(set.split("; ").any(|attribute| attribute == part), "{set}");
        }
        assert!(
            !cookie(Some("1"), false)
                .to_str()
                .unwrap()
                .contains("Secure")
        );
        assert!(cookie(None, false).to_str().unwrap().contains("=; "));
    }
}
