//! The header `Accept`: which of several media types a client prefers (RFC 9110, 12.5.1).

use std::cmp::Reverse;

use axum::http::{HeaderMap, header};

/// The index in `available` of the type that a client prefers: the one of the highest quality, then the most exactly named,
/// then the first named. The first available type if the client has no preference; `None` if it accepts none of them.
/// Invalid parts of the header are ignored.
pub fn preferred(headers: &HeaderMap, available: &[&str]) -> Option<usize> {
    let values = headers.get_all(header::ACCEPT).iter();
    let ranges: Vec<_> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| parts(value, ','))
        .filter_map(Range::parse)
        .collect();
    if ranges.is_empty() {
        return Some(0);
    }
    let weighted = available.iter().enumerate().filter_map(|(index, kind)| {
        // The most exact range decides about a type, whatever the other ranges say.
        let filter = ranges.iter().enumerate().filter_map(|(order, range)| {
            let exactness = range.exactness(kind)?;
            Some((exactness, range.quality, Reverse(order)))
        });
        let (exactness, quality, order) = filter.max()?;
        (quality > 0).then_some((quality, exactness, order, Reverse(index)))
    });
    weighted.max().map(|(.., Reverse(index))| index)
}

/// A range of media types.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    /// `None` if it is not valid or has parameters: the available types have none.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parameters = parts(text, ';');
        let (kind, subtype) = parameters.next()?.trim().split_once('/')?;
        let is_legal = is_token(kind) && is_token(subtype) && (kind != "*" || subtype == "*");
        if !is_legal {
            return None;
        }
        let mut quality = 1_000;
        for parameter in parameters.map(str::trim).filter(|text| !text.is_empty()) {
            let (name, value) = parameter.split_once('=')?;
            if name.eq_ignore_ascii_case("q") {
                quality = thousandths(value)?;
                break;
            }
            // charset has no meaning for JSON (RFC 8259, 11), but some clients add it.
            let is_charset = name.eq_ignore_ascii_case("charset");
            if !(is_charset && value.trim_matches('"').eq_ignore_ascii_case("utf-8")) {
                return None;
            }
        }
        Some(Self {
            kind,
            subtype,
            quality,
        })
    }

    /// How exactly it matches a type; `None` if it does not.
    fn exactness(&self, of: &str) -> Option<u8> {
        let (kind, subtype) = of.split_once('/')?;
        match (self.kind, self.subtype) {
            ("*", _) => Some(0),
            (named, "*") => named.eq_ignore_ascii_case(kind).then_some(1),
            (named, other) => {
                let is_same =
                    named.eq_ignore_ascii_case(kind) && other.eq_ignore_ascii_case(subtype);
                is_same.then_some(2)
            }
        }
    }
}

/// Splits a text at separators outside of quoted strings.
fn parts(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character| {
        let is_plain = !is_quoted;
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
        is_plain && character == separator
    })
}

fn is_token(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

/// A quality in thousandths: from 0 to 1, with at most three decimal places (RFC 9110, 12.4.2).
fn thousandths(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_legal = matches!(whole, "0" | "1")
        && part.len() <= 3
        && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_legal.then(|| format!("{whole}{part:0<3}").parse().ok())??;
    (number <= 1_000).then_some(number)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(values: &[&str]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        let types = ["application/json", "application/x-ndjson"];
        preferred(&headers, &types).map(|index| ["page", "lines"][index])
    }

    #[test]
    fn the_type_of_the_highest_quality_is_preferred_and_quality_0_refused() {
        for (accept, expected) in [
            ("application/json, application/x-ndjson;q=0", Some("page")),
            ("application/x-ndjson;q=0, application/json", Some("page")),
            ("application/x-ndjson;q=0", None),
            ("application/x-ndjson; q=0.000, */*", Some("page")),
            ("application/json;q=0, */*", Some("lines")),
            (
                "application/json;q=0.5, application/x-ndjson",
                Some("lines"),
            ),
            (
                "application/json;q=0.5, application/x-ndjson;Q=0.4",
                Some("page"),
            ),
            (
                "application/json;q=0.998,application/x-ndjson;q=0.999",
                Some("lines"),
            ),
            ("*/*;q=0", None),
            ("text/html", None),
            ("text/html, */*;q=0.8", Some("page")),
        ] {
            assert_eq!(of(&[accept]), expected, "{accept}");
        }
    }

    #[test]
    fn the_most_exact_range_decides_and_ties_go_to_the_more_exact_then_the_first() {
        for (accept, expected) in [
            ("*/*", Some("page")),
            ("application/*", Some("page")),
            ("application/*;q=0.1, application/x-ndjson", Some("lines")),
            ("application/*, application/x-ndjson;q=0.9", Some("page")),
            (
                "application/*, application/json;q=0.1, */*;q=0",
                Some("lines"),
            ),
            ("*/*, application/x-ndjson", Some("lines")),
            ("application/json, application/x-ndjson", Some("page")),
            ("application/x-ndjson, application/json", Some("lines")),
            ("text/*, application/x-ndjson", Some("lines")),
        ] {
            assert_eq!(of(&[accept]), expected, "{accept}");
        }
    }

    #[test]
    fn several_headers_are_one_list_and_names_are_case_insensitive() {
        assert_eq!(of(&[]), Some("page"));
        assert_eq!(
            of(&["application/json;q=0.1", "APPLICATION/X-NDJSON"]),
            Some("lines")
        );
        assert_eq!(
            of(&[
                "application/x-ndjson",
                "application/x-ndjson;q=0, application/json;q=0.1"
            ]),
            Some("lines")
        );
    }

    #[test]
    fn ranges_with_parameters_or_errors_are_ignored() {
        for (accept, expected) in [
            ("application/x-ndjson;charset=utf-8", Some("lines")),
            (
                "application/x-ndjson; charset=\"UTF-8\" ; q=1",
                Some("lines"),
            ),
            (
                "application/x-ndjson;level=1, application/json;q=0.1",
                Some("page"),
            ),
            (
                "application/json;x=\"a, application/x-ndjson\", application/json",
                Some("page"),
            ),
            (
                "application/json;x=\"\\\",application/x-ndjson;q=1,\", */*;q=0.1",
                Some("page"),
            ),
            (
                "application/x-ndjson;q=2, application/json;q=0.1",
                Some("page"),
            ),
            (
                "application/x-ndjson;q=0.1234, application/json;q=0.1",
                Some("page"),
            ),
            (
                "application/x-ndjson;q=1.001, application/json;q=0.1",
                Some("page"),
            ),
            (
                "application/x-ndjson;q=, application/json;q=0.1",
                Some("page"),
            ),
            ("*/x-ndjson, application/json;q=0.1", Some("page")),
            (",, application/x-ndjson ,", Some("lines")),
            ("", Some("page")),
            ("noise", Some("page")),
        ] {
            assert_eq!(of(&[accept]), expected, "{accept}");
        }
    }
}
