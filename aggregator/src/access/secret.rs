//! The text of a token: `agg_`, 43 random letters and digits, and a checksum, by which scanners for secrets tell it from other
//! texts.

use std::fmt;

use rand::{Rng, TryRngCore, distr::Alphanumeric, rngs::OsRng};
use sha2::{Digest, Sha256};

/// What the text of a token begins with.
pub(super) const PREFIX: &str = "agg_";

/// Letters and digits, of which there are 62: 43 of them have 256 bits.
const RANDOM: usize = 43;

/// Digits of the CRC-32 of the random part, in base 62.
const CHECKSUM: usize = 6;

const LENGTH: usize = PREFIX.len() + RANDOM + CHECKSUM;

/// A token. It is shown once, when it is created; the file holds its hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new one, from the system's random numbers.
    #[must_use]
    pub fn new() -> Self {
        let random: String = OsRng
            .unwrap_err()
            .sample_iter(Alphanumeric)
            .take(RANDOM)
            .map(char::from)
            .collect();
        let checksum = checksum(&random);
        Self(format!("{PREFIX}{random}{checksum}"))
    }

    /// Parses what a client sent. `None` if it cannot be a token, or was damaged on the way.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let is_plain = rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if text.len() != LENGTH || !is_plain {
            return None;
        }
        let (random, given) = rest.split_at(RANDOM);
        (checksum(random) == given).then(|| Self(text.to_owned()))
    }

    /// Its SHA-256.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }

    /// The text, to be shown to the person who creates it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self::new()
    }
}

/// Without the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Secret(…)")
    }
}

fn checksum(random: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32fast::hash(random.as_bytes()) as usize;
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[rest % DIGITS.len()];
        rest /= DIGITS.len();
    }
    digits.map(char::from).iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_parsed_and_differs_from_the_next() {
        let secret = Secret::new();
        assert_eq!(secret.reveal().len(), 53);
        assert_eq!(Secret::parse(secret.reveal()), Some(secret.clone()));
        assert_ne!(secret, Secret::new());
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn the_checksum_is_that_of_the_random_part() {
        // CRC-32 of the letter a 43 times, computed with Python's zlib, is 0xF354_0F52.
        let random = "a".repeat(RANDOM);
        assert_eq!(crc32fast::hash(random.as_bytes()), 0xF354_0F52);
        assert_eq!(checksum(&random), "4SHDYg");
    }

    #[test]
    fn a_damaged_text_is_no_token() {
        let secret = Secret::new();
        let text = secret.reveal();
        for index in 0..text.len() {
            for other in ["-", "a", "b", "ä"] {
                let damaged = format!("{}{other}{}", &text[..index], &text[index + 1..]);
                if damaged != text {
                    assert_eq!(Secret::parse(&damaged), None, "{damaged}");
                }
            }
            assert_eq!(Secret::parse(&text[..index]), None);
        }
        assert_eq!(Secret::parse(&format!("{text}0")), None);
        assert_eq!(Secret::parse(&format!(" {text}")), None);
    }
}
