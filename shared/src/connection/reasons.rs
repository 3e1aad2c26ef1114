//! Why servers cannot be reached, in plain words.

/// What the client library reports if it knows no cause, and otherwise puts before the cause.
const KIND: &str = "IO error";

/// What the client library puts before the reason why there are no credentials.
const OWN: &str = "AuthError(";

/// Marks in the reasons of the TLS library, and the reasons in plain words with the remedy.
const ADVICE: [(&[&str], &str); 4] = [
    (
        &["CertificateRequired"],
        "the broker requires a client certificate: use --nats-cert and --nats-key",
    ),
    (
        &[
            "alert: UnknownCA",
            "alert: BadCertificate",
            "alert: CertificateExpired",
            "alert: CertificateUnknown",
        ],
        "the broker refuses the certificate in --nats-cert: it must be issued by an authority that the broker trusts, and must not have expired",
    ),
    (
        // The latter if another authority has the same name.
        &["UnknownIssuer", "BadSignature"],
        "the broker's certificate is not issued by an authority that is trusted: name the authority's certificate with --nats-ca",
    ),
    (
        &["NotValidForName", "not valid for name"],
        "the broker's certificate is not valid for the host in --nats-url",
    ),
];

/// A reason of the client library without the names of its types and the numbers of the operating system.
pub(super) fn plain(reason: &str) -> &str {
    if reason == KIND {
        return "the connection failed";
    }
    let reason = reason.strip_prefix(KIND).unwrap_or(reason);
    let reason = reason.strip_prefix(": ").unwrap_or(reason);
    if let Some((_, own)) = reason.split_once(OWN) {
        // The client library puts it into parentheses.
        return own.strip_suffix(')').unwrap_or(own);
    }
    let mut known = ADVICE.iter();
    let known = known.find(|(marks, _)| marks.iter().any(|mark| reason.contains(mark)));
    if let Some((_, advice)) = known {
        return advice;
    }
    reason.split(" (os error ").next().unwrap_or(reason)
}

/// The reasons of these servers, each of them once, after the addresses of its servers if `is_named`.
pub(super) fn joined(reasons: &[(String, String)], is_named: bool) -> String {
    let mut groups: Vec<(Vec<&str>, &str)> = Vec::new();
    for (address, reason) in reasons {
        let group = groups.iter_mut().find(|(_, known)| known == reason);
        match group {
            Some((addresses, _)) if addresses.contains(&&**address) => {}
            Some((addresses, _)) => addresses.push(address),
            None => groups.push((vec![address], reason)),
        }
    }
    let texts = groups.into_iter().map(|(addresses, reason)| {
        if is_named {
            format!("{}: {reason}", addresses.join(", "))
        } else {
            reason.to_owned()
        }
    });
    texts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_given_once_and_in_plain_words() {
        for (reason, expected) in [
            ("IO error", "the connection failed"),
            (
                "IO error: Connection refused (os error 111)",
                "Connection refused",
            ),
            ("timed out", "timed out"),
            (
                "IO error: received fatal alert: CertificateRequired",
                "the broker requires a client certificate: use --nats-cert and --nats-key",
            ),
            (
                "authentication error: AuthError(--nats-creds a (b): it is gone)",
                "--nats-creds a (b): it is gone",
            ),
        ] {
            assert_eq!(plain(reason), expected);
        }
        let of = |address: &str, reason: &str| (address.to_owned(), reason.to_owned());
        let reasons = [
            of("a:4222", "Connection refused"),
            of("b:4222", "Connection refused"),
            of("a:4222", "Connection refused"),
            of("c:4222", "timed out"),
        ];
        assert_eq!(
            joined(&reasons, true),
            "a:4222, b:4222: Connection refused; c:4222: timed out"
        );
        assert_eq!(joined(&reasons[..1], false), "Connection refused");
    }
}
