//! What the command lines of both programs have in common: numbers, environment variables, output, and errors that fit on
//! one line.

pub mod environment;
mod output;
pub mod usage;
mod visible;

use std::{error::Error, ops::RangeInclusive, path::PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};

pub use self::{
    output::{print, print_coloured, say, shows_colours},
    visible::visible,
};

/// A parser of whole numbers in a range: `250`, `20k`, `1M` or `2G`, where k, M and G are powers of 1,000.
///
/// The parser's error is a message for the user that names the range.
pub fn number<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = whole(text).filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| match (range.start(), range.end()) {
            (0, &u64::MAX) => "must be a whole number, such as 500, 20k or 1M".to_owned(),
            (1, &u64::MAX) => "must be a whole number above 0, such as 500, 20k or 1M".to_owned(),
            (least, most) => format!("must be a whole number from {least} to {most}"),
        })
    }
}

/// A parser of paths that refuses addresses: messages about a path repeat it, and would repeat the password in an address.
///
/// The parser's error is a message for the user.
#[must_use]
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match path.to_str() {
        Some(text) if text.contains("://") => Err("must be a path, not an address"),
        _ => Ok(path),
    })
}

fn whole(text: &str) -> Option<u64> {
    let (digits, unit) = split_unit(text);
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
    let number = is_number.then(|| digits.parse::<u64>().ok()).flatten()?;
    number.checked_mul(u64::from(unit))
}

/// Splits a number from its unit: `20k` is 20 times 1,000.
#[must_use]
pub fn split_unit(text: &str) -> (&str, u32) {
    for (letters, unit) in [
        (['k', 'K'], 1_000),
        (['m', 'M'], 1_000_000),
        (['g', 'G'], 1_000_000_000),
    ] {
        if let Some(number) = text.strip_suffix(letters) {
            return (number, unit);
        }
    }
    (text, 1)
}

/// The rendered message of clap's error on one line: what is wrong, then a similar name if there is one, and otherwise
/// the usage.
#[must_use]
pub fn one_line(message: &str) -> String {
    let mut paragraphs = message.trim().split("\n\n").map(str::trim);
    let joined = |text: &str, separator: &str| {
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        lines.join(separator)
    };
    let mut parts = vec![joined(paragraphs.next().unwrap_or_default(), " ")];
    let (mut usage, mut is_similar) = (None, false);
    for paragraph in paragraphs {
        if paragraph.starts_with("tip: ") {
            is_similar |= paragraph.contains("similar");
            parts.push(joined(paragraph, "; ").replace("tip: ", ""));
        }
        usage = usage.or_else(|| paragraph.strip_prefix("Usage: "));
    }
    if let Some(usage) = usage.filter(|_| !is_similar) {
        let words = usage.lines().next().unwrap_or_default().split_whitespace();
        let command: Vec<_> = words
            .take_while(|word| !word.starts_with(['[', '<', '-']))
            .collect();
        parts.push(format!("usage: {}", joined(usage, " or ")));
        parts.push(format!("for help: {} --help", command.join(" ")));
    }
    parts.join("; ")
}

/// An error and its causes on one line. The system's error numbers are left out, and so is a cause that the line already
/// ends with.
#[must_use]
pub fn failure(err: &(dyn Error + 'static)) -> String {
    let mut line = without_numbers(err.to_string());
    let mut cause = err.source();
    while let Some(err) = cause {
        let text = without_numbers(err.to_string());
        if !line.ends_with(&text) {
            line += ": ";
            line += &text;
        }
        cause = err.source();
    }
    line
}

fn without_numbers(mut text: String) -> String {
    const START: &str = " (os error ";
    while let Some(start) = text.find(START)
        && let Some(length) = text[start..].find(')')
    {
        text.replace_range(start..=start + length, "");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_number_may_have_a_unit() {
        for (text, expected) in [
            ("0", 0),
            ("250", 250),
            ("1k", 1_000),
            ("10K", 10_000),
            ("1M", 1_000_000),
            ("2g", 2_000_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(number::<u64>(0..=u64::MAX)(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_number_in_the_range_is_refused_with_what_is() {
        for text in [
            "",
            "k",
            "1kk",
            "1.5",
            "-5",
            "+5",
            "1 k",
            "1e6",
            "abc",
            "99999999999999999999",
            "18446744073709551615k",
        ] {
            let refused = number::<u64>(0..=u64::MAX)(text).unwrap_err();
            assert_eq!(
                refused, "must be a whole number, such as 500, 20k or 1M",
                "{text}"
            );
        }
        let number = number::<u8>(1..=5);
        assert_eq!(number("5"), Ok(5));
        for text in ["0", "6", "1k"] {
            let expected = Err("must be a whole number from 1 to 5".to_owned());
            assert_eq!(number(text), expected, "{text}");
        }
    }

    #[test]
    fn the_line_keeps_the_suggestion_and_otherwise_the_usage() {
        for (message, expected) in [
            (
                "error: unrecognized subcommand 'sned'\n\n  tip: a similar subcommand exists: 'send'\n\n\
                 Usage: publisher <COMMAND>\n\nFor more information, try '--help'.\n",
                "error: unrecognized subcommand 'sned'; a similar subcommand exists: 'send'",
            ),
            (
                "error: the following required arguments were not provided:\n  <FILE>...\n\n\
                 Usage: publisher send <FILE>...\n\nFor more information, try '--help'.\n",
                "error: the following required arguments were not provided: <FILE>...; \
                 usage: publisher send <FILE>...; for help: publisher send --help",
            ),
            (
                "error: unexpected argument '--json' found\n\nUsage: aggregator [OPTIONS]\n       aggregator <COMMAND>\n\n\
                 For more information, try '--help'.\n",
                "error: unexpected argument '--json' found; usage: aggregator [OPTIONS] or aggregator <COMMAND>; \
                 for help: aggregator --help",
            ),
            (
                "error: invalid value '0' for '--batch <N>': no\n\nFor more information, try '--help'.\n",
                "error: invalid value '0' for '--batch <N>': no",
            ),
        ] {
            assert_eq!(one_line(message), expected);
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("directory x cannot be used: {source}")]
    struct Unusable {
        source: io::Error,
    }

    #[test]
    fn a_cause_is_given_once_and_without_its_number() {
        let source = io::Error::from_raw_os_error(2);
        assert!(source.to_string().ends_with("(os error 2)"));
        assert_eq!(
            failure(&Unusable { source }),
            "directory x cannot be used: No such file or directory"
        );
    }
}
