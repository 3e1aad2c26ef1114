//! The header `Authorization`, given zero or more times, one on each line: the token is what RFC 6750 and RFC 7617 say, and any
//! other header is refused.

#![no_main]

use aggregator::http::credentials::{Credentials, credentials};
use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header::AUTHORIZATION, value);
        }
    }
    let read = credentials(&headers);
    let values: Vec<_> = headers.get_all(header::AUTHORIZATION).iter().collect();
    let value = match values.as_slice() {
        [] => return assert_eq!(read, Credentials::None),
        [value] => *value,
        _ => return assert_eq!(read, Credentials::Invalid),
    };
    let Credentials::Token(token) = read else {
        return assert_eq!(read, Credentials::Invalid);
    };
    let text = value
        .to_str()
        .expect("a token is in a legible header")
        .trim();
    let (scheme, _) = text.split_at(text.find(' ').expect("a scheme"));
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => assert_eq!(text[scheme.len()..].trim_start(), token),
        "basic" => {
            let decoded = BASE64.decode(text[scheme.len()..].trim_start()).unwrap();
            let decoded = String::from_utf8(decoded).unwrap();
            assert!(decoded.ends_with(&format!(":{token}")));
            // The first colon ends the user name.
            assert!(!decoded[..decoded.len() - token.len() - 1].contains(':'));
        }
        other => panic!("{other} is not a scheme"),
    }
});
