//! Why servers cannot be reached, in plain words.

/// What the client library reports if it knows no cause, and otherwise puts before the cause.
const KIND: &str = "IO error";

/// A reason of the client library without the names of its types and the numbers of the operating system.
pub(super) fn plain(reason: &str) -> &str {
    if reason == KIND {
        return "the connection failed";
    }
    let reason = reason.strip_prefix(KIND).unwrap_or(reason);
    let reason = reason.strip_prefix(": ").unwrap_or(reason);
    reason.split(" (os error ").next().unwrap_or(reason)
}

/// The subject on which the user may not publish, if this is what an error of the server says.
pub(super) fn denied(error: &str) -> Option<&str> {
    const BEGINNING: &str = "permissions violation for publish to \"";
    let at = error.to_ascii_lowercase().find(BEGINNING)?;
    error[at + BEGINNING.len()..].split('"').next()
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
    fn the_subject_of_a_denied_message_is_read_from_the_error() {
        let denied_on = "nats: Permissions Violation for Publish to \"events.Ä\"";
        assert_eq!(denied(denied_on), Some("events.Ä"));
        for other in [
            "Permissions Violation for Subscription to \"events\"",
            "Maximum Payload Violation",
            "",
        ] {
            assert_eq!(denied(other), None);
        }
    }

    #[test]
    fn a_reason_is_given_once_and_in_plain_words() {
        for (reason, expected) in [
            ("IO error", "the connection failed"),
            (
                "IO error: Connection refused (os error 111)",
                "Connection refused",
            ),
            ("timed out", "timed out"),
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
