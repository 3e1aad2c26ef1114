//! An entry of the tokens file, as written and checked.

use std::{num::NonZeroU32, sync::Arc};

use serde::Deserialize;
use shared::event::Instant;
use toml_edit::Datetime;

use crate::access::{
    grant::{Grant, Rate},
    pattern::{Pattern, Patterns},
    secret::PREFIX,
    subject::Subject,
};

/// Longest name, which travels with each message.
const MAX_NAME: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEntry {
    pub name: String,
    sha256: Option<String>,
    /// That of a client certificate, in place of a hash.
    subject: Option<String>,
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    read: Vec<String>,
    #[serde(default)]
    admin: bool,
    expires: Option<Datetime>,
    rate: Option<String>,
}

impl RawEntry {
    /// # Errors
    /// What is wrong.
    pub fn check(self) -> Result<Grant, String> {
        let Self {
            name,
            sha256,
            subject,
            publish,
            read,
            admin,
            expires,
            rate,
        } = self;
        if sha256.is_some() == subject.is_some() {
            return Err("it must have either sha256 or subject".to_owned());
        }
        let digest = |text: &String| digest(text).ok_or("sha256 must be 64 hexadecimal digits");
        Ok(Grant {
            name: Some(parse_name(&name)?.into()),
            sha256: sha256.as_ref().map(digest).transpose()?,
            subject: subject.as_deref().map(Subject::parse).transpose()?,
            publish: patterns(&publish).map_err(|wrong| format!("publish: {wrong}"))?,
            read: Arc::new(patterns(&read).map_err(|wrong| format!("read: {wrong}"))?),
            admin,
            expires: expires.map(|time| instant(&time)).transpose()?,
            rate: rate.as_deref().map(parse_rate).transpose()?.map(Rate::new),
        })
    }
}

/// The name of a token.
///
/// # Errors
/// What is wrong with it.
pub(in crate::access) fn parse_name(name: &str) -> Result<&str, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_plain) {
        if name.starts_with(PREFIX) {
            return Err(format!("a name does not begin with {PREFIX}, as tokens do"));
        }
        return Ok(name);
    }
    Err(format!(
        "a name has 1 to {MAX_NAME} letters, digits and the characters - _ and ."
    ))
}

/// Events in each second, as `5000/s`.
///
/// # Errors
/// What is right.
pub fn parse_rate(text: &str) -> Result<NonZeroU32, String> {
    let number = text
        .strip_suffix("/s")
        .and_then(|number| number.parse().ok());
    number.ok_or_else(|| "a rate is a number of events per second, such as 5000/s".to_owned())
}

fn patterns(texts: &[String]) -> Result<Patterns, String> {
    let patterns = texts.iter().map(|text| Pattern::parse(text));
    let patterns: Result<_, _> = patterns.collect();
    patterns.map_err(|wrong| wrong.to_string())
}

fn instant(time: &Datetime) -> Result<i64, String> {
    let text = time.to_string();
    let instant = Instant::parse(&text);
    let instant = instant.map_err(
        |_| "expires must have a date, a time and an offset, such as 2027-01-31T00:00:00Z",
    )?;
    Ok(instant.microseconds())
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let is_hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.len() != 2 * digest.len() || !is_hexadecimal {
        return None;
    }
    for (byte, index) in digest.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[index..index + 2], 16).ok()?;
    }
    Some(digest)
}
