//! The subjects of client certificates, as texts.

use std::{fmt, str::FromStr, sync::Arc};

use x509_cert::{Certificate as Parsed, der::Decode, name::Name};

/// The subject of a certificate as RFC 4514 writes it, such as `CN=shipper,O=Example`: the most specific attribute first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject(Arc<str>);

impl Subject {
    /// Parses the text of a subject.
    ///
    /// # Errors
    /// What is right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = Name::from_str(text).ok().filter(|name| !name.is_empty());
        let name = name.ok_or(
            "subject must be that of a certificate as RFC 4514 writes it, such as \"CN=shipper,O=Example\"; openssl x509 -in FILE -noout -subject -nameopt RFC2253 prints it",
        )?;
        Ok(Self::of(&name))
    }

    fn of(name: &Name) -> Self {
        Self(name.to_string().into())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

/// A client certificate that was verified when the connection was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its subject.
    pub subject: Subject,
    /// When it ends, in microseconds since 1970. A connection can outlast it.
    pub expires: i64,
}

impl Certificate {
    /// Reads a certificate in DER. `None` if it is not one, or has no subject.
    #[must_use]
    pub fn parse(der: &[u8]) -> Option<Self> {
        let parsed = Parsed::from_der(der).ok()?.tbs_certificate;
        if parsed.subject.is_empty() {
            return None;
        }
        let expires = parsed.validity.not_after.to_unix_duration().as_micros();
        Some(Self {
            subject: Subject::of(&parsed.subject),
            expires: i64::try_from(expires).unwrap_or(i64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_the_same_however_its_text_escapes_it() {
        let of = |text: &str| Subject::parse(text).map(|subject| subject.to_string());
        assert_eq!(of("CN=shipper,O=Example").unwrap(), "CN=shipper,O=Example");
        assert_eq!(of("CN=a\\2Cb").unwrap(), "CN=a\\,b");
        assert_ne!(of("CN=a\\,O=b"), of("CN=a,O=b"));
        for wrong in ["", "shipper", "CN = a", "CN=a, O=b", "NOTHING=a"] {
            assert!(of(wrong).unwrap_err().contains("RFC 4514"), "{wrong}");
        }
    }
}
