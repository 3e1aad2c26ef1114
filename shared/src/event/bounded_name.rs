//! Names of unbounded length, as other formats allow them, mapped to names within the length limit.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::MAX_NAME_BYTES;

/// Prefix of a digest that replaces a name. A name that has this prefix itself is hashed too, so a text with the prefix
/// is always a digest.
const PREFIX: &str = "sha256:";

/// Maps any text to a name of at most [`MAX_NAME_BYTES`], different for different texts: the text itself, or, if it is
/// longer or begins with `sha256:`, the prefix `sha256:` and its SHA-256 in lowercase hexadecimal.
///
/// The result is owned exactly if the text was hashed; a caller that needs the text later must keep it, in the payload.
#[must_use]
pub fn bounded_name(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_NAME_BYTES && !text.starts_with(PREFIX) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{PREFIX}{:x}", Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_within_the_limit_is_unchanged() {
        for name in ["", "a", "sha256", "SHA256:a", &"ä".repeat(127)] {
            assert!(matches!(bounded_name(name), Cow::Borrowed(same) if same == name));
        }
    }

    #[test]
    fn a_longer_name_becomes_its_digest() {
        // The digest of one million times `a` is an example in FIPS 180-2, appendix B.3.
        assert_eq!(
            bounded_name(&"a".repeat(1_000_000)),
            "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        );
        assert!(matches!(bounded_name(&"ä".repeat(128)), Cow::Owned(_)));
    }

    #[test]
    fn a_name_that_looks_like_a_digest_is_hashed_too() {
        let long = "a".repeat(MAX_NAME_BYTES + 1);
        let digest = bounded_name(&long);
        assert_ne!(bounded_name(&digest), digest);
        assert!(bounded_name(&digest).starts_with(PREFIX));
    }
}
