//! The token in the header `Authorization`: as a bearer token (RFC 6750), or as the password of Basic (RFC 7617).

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

/// What a request has to show who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    None,
    /// The text of a token, which has not been compared with any.
    Token(String),
    /// A header that cannot be read, or several.
    Invalid,
}

/// The credentials of a request.
#[must_use]
pub fn credentials(headers: &HeaderMap) -> Credentials {
    let mut given = headers.get_all(header::AUTHORIZATION).into_iter();
    match (given.next(), given.next()) {
        (None, _) => Credentials::None,
        (Some(value), None) => token(value).map_or(Credentials::Invalid, Credentials::Token),
        (Some(_), Some(_)) => Credentials::Invalid,
    }
}

fn token(value: &HeaderValue) -> Option<String> {
    let (scheme, rest) = value.to_str().ok()?.trim().split_once(' ')?;
    let rest = rest.trim_start();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(rest).ok()?).ok()?;
    // A user name has no colon.
    let (_, password) = decoded.split_once(':')?;
    Some(password.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[&str]) -> Credentials {
        let values = values
            .iter()
            .map(|value| HeaderValue::from_str(value).unwrap());
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value);
        }
        credentials(&headers)
    }

    #[test]
    fn a_token_is_a_bearer_token_or_the_password_of_any_user() {
        let token = Credentials::Token("agg_x:y".to_owned());
        for value in ["Bearer agg_x:y", "bearer  agg_x:y", "BEARER agg_x:y "] {
            assert_eq!(of(&[value]), token, "{value}");
        }
        for user in ["", "me", "a b"] {
            let value = format!("Basic {}", BASE64.encode(format!("{user}:agg_x:y")));
            assert_eq!(of(&[&value]), token, "{user}");
        }
        assert_eq!(of(&[]), Credentials::None);
        for wrong in [
            "",
            "Bearer",
            "Digest a",
            "Basic",
            "Basic !",
            "Basic YQ==",
            "Basic //8=",
        ] {
            assert_eq!(of(&[wrong]), Credentials::Invalid, "{wrong}");
        }
        assert_eq!(of(&["Bearer a", "Bearer a"]), Credentials::Invalid);
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
                prop_assert_ne!(credentials(&headers), Credentials::None);
            }
        }
    }
}
