//! Sessions of browsers: a cookie in place of a token, from signing in until signing out, until the token ends, or for 12 hours.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use rand::{TryRngCore, rngs::OsRng};
use sha2::{Digest, Sha256};
use tokio::time::sleep_until;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Encrypted;

/// How long a session lasts.
const LENGTH: Duration = Duration::from_secs(12 * 3_600);

/// Sessions at a time; beyond it the oldest ends.
const MOST: usize = if cfg!(test) { 5 } else { 10_000 };

/// Of these with one token, so that one that signs in again and again does not end the sessions of others.
const MOST_OF_A_TOKEN: usize = if cfg!(test) { 3 } else { 20 };

/// The name of the cookie on a connection that is not encrypted.
const PLAIN: &str = "aggregator_session";

/// Its name on an encrypted one. Browsers take a cookie with this prefix from an encrypted response only, and never for a whole domain
/// (<https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis>, 4.1.3.2): so neither a page that is not encrypted nor
/// another host of the domain can give a browser the session of another user.
const HOST: &str = "__Host-aggregator_session";

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

/// Whether the connection of the browser is encrypted, so that its cookie must never be sent over one that is not: it is one to
/// this service, or the page is of https, or the proxy says so. What a client without a proxy says here about itself is of no
/// consequence to others.
pub fn is_encrypted(headers: &HeaderMap, extensions: &Extensions) -> bool {
    let scheme = headers.get("x-forwarded-proto");
    let origin = headers.get(header::ORIGIN);
    extensions.get::<Encrypted>().is_some()
        || scheme.is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"))
        || origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

/// The id of the session that a request names. On an encrypted connection it is only taken from the cookie that no other page can
/// have set; on others, as behind a proxy that does not say which it is, from either.
pub fn id<'a>(headers: &'a HeaderMap, extensions: &Extensions) -> Option<&'a str> {
    let named = |wanted: &str| {
        let lines = headers.get_all(header::COOKIE).into_iter();
        let cookies = lines.filter_map(|line| line.to_str().ok());
        let mut cookies = cookies.flat_map(|line| line.split(';'));
        cookies.find_map(|cookie| {
            let (name, value) = cookie.trim().split_once('=')?;
            (name == wanted).then_some(value)
        })
    };
    let plain = || named(PLAIN).filter(|_| !is_encrypted(headers, extensions));
    named(HOST).or_else(plain)
}

/// The header `Set-Cookie` that begins a session with this id, or that ends the current one. No page of another site sends the
/// cookie along, and no script can read it.
pub fn cookie(id: Option<&str>, is_encrypted: bool) -> HeaderValue {
    let (id, seconds) = id.map_or(("", 0), |id| (id, LENGTH.as_secs()));
    let (name, secure) = if is_encrypted {
        (HOST, "; Secure")
    } else {
        (PLAIN, "")
    };
    let cookie =
        format!("{name}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}");
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
            id(&headers, &Extensions::new()).map(str::to_owned)
        };
        assert_eq!(
            of(&["a=b; aggregator_session=1; c=d"]).as_deref(),
            Some("1")
        );
        assert_eq!(of(&["a=b", "aggregator_session=1"]).as_deref(), Some("1"));
        assert_eq!(of(&["xaggregator_session=1; aggregator_session"]), None);
        let both = ["aggregator_session=1; __Host-aggregator_session=2"];
        assert_eq!(of(&both).as_deref(), Some("2"));
        let set = cookie(Some("1"), true);
        let set = set.to_str().unwrap();
        // Without Domain, which browsers refuse with this name.
        assert!(set.starts_with("__Host-aggregator_session=1; ") && !set.contains("Domain"));
        for part in [
            "HttpOnly",
            "SameSite=Strict",
            "Path=/",
            "Max-Age=43200",
            "Secure",
        ] {
            assert!(set.split("; ").any(|attribute| attribute == part), "{set}");
        }
        let plain = cookie(Some("1"), false);
        let plain = plain.to_str().unwrap();
        assert!(plain.starts_with("aggregator_session=1; ") && !plain.contains("Secure"));
        assert!(cookie(None, false).to_str().unwrap().contains("=; "));
    }

    #[test]
    fn a_connection_is_encrypted_if_it_is_one_to_the_service_or_the_page_or_the_proxy_is_of_https()
    {
        let of = |name, value| {
            let value = HeaderValue::from_static(value);
            is_encrypted(&HeaderMap::from_iter([(name, value)]), &Extensions::new())
        };
        let forwarded = header::HeaderName::from_static("x-forwarded-proto");
        assert!(of(header::ORIGIN, "https://logs.example"));
        assert!(of(forwarded.clone(), "https"));
        assert!(!of(header::ORIGIN, "http://logs.example"));
        assert!(!of(forwarded, "http"));
        assert!(is_encrypted(&HeaderMap::new(), &encrypted()));
    }

    fn encrypted() -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(Encrypted { certificate: None });
        extensions
    }

    #[test]
    fn an_encrypted_connection_has_no_session_by_a_cookie_that_another_page_can_set() {
        let cookie =
            |value| HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(value))]);
        let planted = cookie("aggregator_session=1");
        assert_eq!(id(&planted, &encrypted()), None);
        assert_eq!(id(&planted, &Extensions::new()), Some("1"));
        let mut proxied = planted;
        let https = HeaderValue::from_static("https");
        proxied.insert("x-forwarded-proto", https);
        assert_eq!(id(&proxied, &Extensions::new()), None);
        let own = cookie("__Host-aggregator_session=1");
        assert_eq!(id(&own, &encrypted()), Some("1"));
    }
}
