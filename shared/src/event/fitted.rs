//! Names of other systems, which know no limit on their length, as names of ours.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::MAX_NAME_BYTES;

/// What a digest that stands for a name begins with. Names that begin with it themselves are hashed too: a text
/// that does is then never a name as it came.
const HASHED: &str = "sha256:";

/// A name of at most [`MAX_NAME_BYTES`] for any text, different for different texts: the text itself, or where it is
/// longer or begins with `sha256:`, `sha256:` and its SHA-256 in lowercase hexadecimal.
///
/// Who needs the text again keeps it in the payload where what is returned is owned.
#[must_use]
pub fn fitted(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_NAME_BYTES && !text.starts_with(HASHED) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{HASHED}{:x}", Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_fits_stays_as_it_is() {
        for name in ["", "a", "sha256", "SHA256:a", &"ä".repeat(127)] {
            assert!(matches!(fitted(name), Cow::Borrowed(same) if same == name));
        }
    }

    #[test]
    fn a_longer_name_is_its_digest() {
        // The digest of a million times `a` is an example of FIPS 180-2, appendix B.3.
        assert_eq!(
            fitted(&"a".repeat(1_000_000)),
            "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        );
        assert!(matches!(fitted(&"ä".repeat(128)), Cow::Owned(_)));
    }

    #[test]
    fn a_name_that_looks_like_a_digest_is_hashed_too() {
        let long = "a".repeat(MAX_NAME_BYTES + 1);
        let digest = fitted(&long);
        assert_ne!(fitted(&digest), digest);
        assert!(fitted(&digest).starts_with(HASHED));
    }
}
