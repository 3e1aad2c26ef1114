//! Sessions of browsers: a cookie in place of a token, from signing in until signing out, until the token ends, or for 12 hours.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderValue, header};
use rand::{TryRngCore, rngs::OsRng};
use sha2::{Digest, Sha256};

/// How long a session lasts.
const LENGTH: Duration = Duration::from_secs(12 * 3_600);

/// Sessions at a time; beyond it the oldest ends.
const MOST: usize = if cfg!(test) { 3 } else { 10_000 };

/// The name of the cookie.
const COOKIE: &str = "aggregator_session";

/// The sessions since the start; a restart ends them. Cheap to clone; clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Sessions(Arc<Mutex<HashMap<[u8; 32], Session>>>);

#[derive(Debug)]
struct Session {
    /// The SHA-256 of the token.
    token: [u8; 32],
    began: Instant,
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
        known.retain(|_, session| !session.is_over(now));
        if known.len() >= MOST
            && let Some((oldest, _)) = known.iter().min_by_key(|(_, session)| session.began)
        {
            let oldest = *oldest;
            known.remove(&oldest);
        }
        known.insert(key(&id), Session { token, began: now });
        id
    }

    /// The SHA-256 of the token with which a session began, if it is not over.
    pub fn token(&self, id: &str, now: Instant) -> Option<[u8; 32]> {
        let known = self.known();
        let session = known.get(&key(id))?;
        (!session.is_over(now)).then_some(session.token)
    }

    /// Ends a session.
    pub fn end(&self, id: &str) {
        self.known().remove(&key(id));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= LENGTH
    }
}

/// The id is not kept, and looking up its hash takes no time that tells anything about it.
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
        assert_eq!(sessions.token(&one, now), Some([1; 32]));
        assert_eq!(sessions.token(&other, now), Some([2; 32]));
        assert_eq!(sessions.token("", now), None);
        assert_eq!(sessions.token(&other, now + LENGTH), None);
        sessions.end(&one);
        assert_eq!(sessions.token(&one, now), None);
    }

    #[test]
    fn the_oldest_session_gives_way() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let ids: Vec<_> = (0..5)
            .map(|second| sessions.begin([1; 32], start + Duration::from_secs(second)))
            .collect();
        let is_known = |id: &String| sessions.token(id, start).is_some();
        let known: Vec<_> = ids.iter().map(is_known).collect();
        assert_eq!(known, [false, false, true, true, true]);
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
