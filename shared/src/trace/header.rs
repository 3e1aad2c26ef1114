//! The headers `traceparent` and `tracestate`, parsed according to their grammar in the W3C Recommendation
//! (<https://www.w3.org/TR/trace-context-1/>).
//!
//! OpenTelemetry's own propagator accepts values that the grammar excludes: ids with too few digits or with a sign, and
//! `tracestate` members without a value.

use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

/// A valid `tracestate`, as it is propagated.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tracestate(String);

impl Tracestate {
    /// The members in the order received, without empty ones and without white space around them.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// The state as OpenTelemetry represents it in spans; empty if OpenTelemetry rejects it. In a key with a tenant,
    /// OpenTelemetry accepts at most 13 characters for the system, one fewer than the Recommendation.
    pub(super) fn of_spans(&self) -> TraceState {
        let members = self
            .0
            .split(',')
            .filter_map(|member| member.split_once('='));
        TraceState::from_key_value(members).unwrap_or_default()
    }
}

/// Maximum size of a propagated `tracestate`, in bytes. W3C recommends at least 512; the limit is no higher because
/// every message carries the header.
const MAX_STATE_BYTES: usize = 512;

/// Maximum number of members of a `tracestate` (section 3.3.1.1).
const MAX_MEMBERS: usize = 32;

/// Length of a `traceparent` of version 00, in bytes; later versions start with the same fields.
const PARENT_BYTES: usize = 55;

/// A valid `traceparent`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Traceparent {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) flags: TraceFlags,
}

/// Parses a `traceparent`; `None` if it is invalid. Later versions may append a dash and more fields (section 4.3).
pub(super) fn parent(value: &[u8]) -> Option<Traceparent> {
    let value = trim(value);
    let (known, more) = value.split_at_checked(PARENT_BYTES)?;
    let mut fields = known.split(|byte| *byte == b'-');
    let version = hex(fields.next()?, 2)?;
    let trace = TraceId::from(hex(fields.next()?, 32)?);
    let span = SpanId::from(u64::try_from(hex(fields.next()?, 16)?).ok()?);
    let flags = u8::try_from(hex(fields.next()?, 2)?).ok()?;
    let is_known = match version {
        0 => more.is_empty(),
        0xff => false,
        _ => more.first().is_none_or(|byte| *byte == b'-'),
    };
    let is_valid = is_known && trace != TraceId::INVALID && span != SpanId::INVALID;
    is_valid.then_some(Traceparent {
        trace,
        span,
        // Level 1 of the Recommendation defines no other flag.
        flags: TraceFlags::new(flags) & TraceFlags::SAMPLED,
    })
}

/// A hexadecimal number of exactly `count` digits, in lower case as the grammar requires.
fn hex(digits: &[u8], count: usize) -> Option<u128> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != count || !digits.iter().all(is_digit) {
        return None;
    }
    u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Parses the lines of a `tracestate` as one list; `None` if a member is invalid or the list is too large.
pub(super) fn state<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Tracestate> {
    let mut keys: Vec<&str> = Vec::new();
    let mut text = String::new();
    for line in lines {
        for member in line.split(|byte| *byte == b',') {
            let member = trim(member);
            // Empty members are allowed (section 3.3.1.1).
            if member.is_empty() {
                continue;
            }
            let member = std::str::from_utf8(member).ok()?;
            let (key, value) = member.split_once('=')?;
            if !(is_key(key) && is_value(value)) || keys.contains(&key) {
                return None;
            }
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(member);
            keys.push(key);
            if keys.len() > MAX_MEMBERS || text.len() > MAX_STATE_BYTES {
                return None;
            }
        }
    }
    Some(Tracestate(text))
}

/// Whether this is a key: a name, or a tenant and its system separated by `@` (section 3.3.1.3.1).
fn is_key(key: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase();
    let is_start = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match key.split_once('@') {
        None => is_name(key, 256, is_letter),
        Some((tenant, system)) => is_name(tenant, 241, is_start) && is_name(system, 14, is_letter),
    }
}

fn is_name(name: &str, max: usize, is_start: impl Fn(u8) -> bool) -> bool {
    let is_part = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    name.bytes().next().is_some_and(is_start) && name.len() <= max && name.bytes().all(is_part)
}

/// Whether this is a value: 1 to 256 printable ASCII characters other than `,` and `=` (section 3.3.1.3.2). Trailing
/// spaces have already been removed.
fn is_value(value: &str) -> bool {
    let is_part = |byte| matches!(byte, b' '..=b'~' if byte != b',' && byte != b'=');
    (1..=256).contains(&value.len()) && value.bytes().all(is_part)
}

/// Removes the optional white space of HTTP at both ends.
fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte));
    let end = value.iter().rposition(|byte| !is_space(byte));
    start
        .zip(end)
        .map_or(&[], |(start, end)| &value[start..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn is_parent(value: &str) -> bool {
        parent(value.as_bytes()).is_some()
    }

    /// The `tracestate` as it is propagated.
    fn propagated(lines: &[&str]) -> Option<String> {
        state(lines.iter().map(|line| line.as_bytes())).map(|state| state.0)
    }

    #[test]
    fn an_invalid_traceparent_is_discarded_and_not_repaired() {
        let zeros = "0".repeat(32);
        for wrong in [
            "",
            "00",
            "00-1-1-1",
            &format!("00-{TRACE}-{SPAN}"),
            &format!("00-{TRACE}-{SPAN}-"),
            &format!("00-{TRACE}-{SPAN}-1"),
            &format!("00-{TRACE}-{SPAN}-001"),
            &format!("00-{TRACE}-{SPAN}-0g"),
            &format!("00-{TRACE}-{SPAN}-0A"),
            &format!("00-{TRACE}-{SPAN}-01-"),
            &format!("00-{TRACE}-{SPAN}-01-more"),
            &format!("00-{TRACE}-{SPAN}-01.more"),
            &format!("000-{TRACE}-{SPAN}-01"),
            &format!("0-{TRACE}-{SPAN}-01"),
            &format!("ff-{TRACE}-{SPAN}-01"),
            &format!("FF-{TRACE}-{SPAN}-01"),
            &format!("+0-{TRACE}-{SPAN}-01"),
            &format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            &format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            &format!("00-{TRACE}-{}-01", &SPAN[1..]),
            &format!("00-{TRACE}-+{}-01", &SPAN[1..]),
            &format!("00-+{}-{SPAN}-01", &TRACE[1..]),
            &format!("00-{}-{SPAN}-01", &TRACE[1..]),
            &format!("00-{TRACE}0-{SPAN}-01"),
            &format!("00-{zeros}-{SPAN}-01"),
            &format!("00-{TRACE}-{}-01", &zeros[16..]),
            &format!("00_{TRACE}_{SPAN}_01"),
            &format!("00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01"),
            // Later versions.
            &format!("cc-{TRACE}-{SPAN}-01.more"),
            &format!("cc-{TRACE}-{SPAN}-011"),
            &format!("cc-{TRACE}-{SPAN}-0"),
        ] {
            assert!(!is_parent(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_valid_traceparent_of_this_or_a_later_version_is_parsed() {
        for (value, is_sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), true),
            (format!("00-{TRACE}-{SPAN}-00"), false),
            (format!("00-{TRACE}-{SPAN}-ff"), true),
            (format!(" \t00-{TRACE}-{SPAN}-01\t "), true),
            (format!("cc-{TRACE}-{SPAN}-01"), true),
            (format!("cc-{TRACE}-{SPAN}-00-what-comes-later"), false),
            (format!("01-{TRACE}-{SPAN}-01-"), true),
        ] {
            let parsed = parent(value.as_bytes()).expect(&value);
            assert_eq!(parsed.trace.to_string(), TRACE, "{value}");
            assert_eq!(parsed.span.to_string(), SPAN, "{value}");
            assert_eq!(parsed.flags.is_sampled(), is_sampled, "{value}");
        }
    }

    #[test]
    fn a_tracestate_with_an_invalid_member_is_discarded() {
        let long = |count| "t".repeat(count);
        for wrong in [
            "foo=,bar=3",
            "foo",
            "=1",
            "foo =1",
            "FOO=1",
            "foo.bar=1",
            "1foo=1",
            "foo@=1,bar=2",
            "@foo=1,bar=2",
            "foo@@bar=1,bar=2",
            "foo@bar@baz=1,bar=2",
            "foo@1bar=1",
            "foo=bar=baz",
            "foo=\u{e4}",
            "foo=a\tb",
            "foo=1,foo=2",
            &format!("{}=1", long(257)),
            &format!("{}@v=1", long(242)),
            &format!("t@{}=1", long(15)),
            &format!("foo={}", long(257)),
        ] {
            assert_eq!(propagated(&[wrong]), None, "{wrong}");
        }
        assert_eq!(propagated(&["foo=1", "bar=2", "foo=3"]), None);
    }

    #[test]
    fn a_valid_tracestate_is_propagated_unchanged() {
        let key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
        let value: String = (b' '..=b'~')
            .map(char::from)
            .filter(|part| !",=".contains(*part))
            .collect();
        let all = [
            format!("{key}={value}"),
            format!("{key}@a-z0-9_-*/={value}"),
            format!("0t@v= 1,{}=1", "z".repeat(256)),
            format!("{}@{}=1", "t".repeat(241), "v".repeat(14)),
        ];
        for valid in &all {
            assert_eq!(propagated(&[valid]).as_ref(), Some(valid));
        }
        assert_eq!(propagated(&[]).as_deref(), Some(""));
        assert_eq!(propagated(&["", " , "]).as_deref(), Some(""));
        let lines = ["a=1", "", " b=2 ,\tc=3", ","];
        assert_eq!(propagated(&lines).as_deref(), Some("a=1,b=2,c=3"));
    }

    #[test]
    fn a_tracestate_with_too_many_members_or_bytes_is_discarded() {
        let members = |count| (0..count).map(|number| format!("k{number}=1"));
        let joined = |count| members(count).collect::<Vec<_>>().join(",");
        assert_eq!(propagated(&[&joined(32)]), Some(joined(32)));
        assert_eq!(propagated(&[&joined(33)]), None);
        assert_eq!(propagated(&[&joined(32), "more=1"]), None);
        let largest = format!("a={},b={}", "x".repeat(254), "x".repeat(253));
        assert_eq!(largest.len(), MAX_STATE_BYTES);
        assert_eq!(propagated(&[&largest]).as_ref(), Some(&largest));
        assert_eq!(propagated(&["c=3", &largest]), None);
        assert_eq!(propagated(&[&format!("{largest}x")]), None);
    }
}
