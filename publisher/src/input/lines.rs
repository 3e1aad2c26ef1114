//! NDJSON: one event per line.

use std::io::{BufRead, Read};

use bytes::Bytes;
use shared::event::MAX_EVENT_BYTES;

use super::{InputError, Place, Sink};

/// Maximum line length in bytes: an event and some white space. A longer line is invalid and not kept in memory.
const MAX_LINE_BYTES: usize = MAX_EVENT_BYTES + 4 * 1024;

/// Reads lines to the end. Blank lines are skipped; `lines` of them already were.
pub(super) fn read(
    name: &str,
    reader: &mut dyn BufRead,
    mut lines: u64,
    sink: &mut Sink<'_>,
) -> Result<(), InputError> {
    let failed = |source| InputError::Read {
        name: name.to_owned(),
        source,
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        // One byte more for the line break.
        let mut bounded = reader.take(MAX_LINE_BYTES as u64 + 1);
        if bounded.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return Ok(());
        }
        lines += 1;
        let is_too_long = line.len() > MAX_LINE_BYTES && line.last() != Some(&b'\n');
        if is_too_long {
            skip_line(reader).map_err(failed)?;
            let reason = format!("the line has more than {MAX_LINE_BYTES} bytes");
            sink(Place::Line(lines), Err(reason))?;
            continue;
        }
        let text = line.trim_ascii();
        if !text.is_empty() {
            sink(Place::Line(lines), Ok(Bytes::copy_from_slice(text)))?;
        }
    }
}

fn skip_line(reader: &mut dyn BufRead) -> std::io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (bytes, is_last) = match end {
            Some(end) => (end + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        reader.consume(bytes);
        if is_last {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::all, *};

    #[test]
    fn blank_lines_and_carriage_returns_are_skipped_and_lines_keep_their_numbers() {
        let (found, end) = all(b"\r\n\n{\"a\":1}\r\n  \n {\"b\":2} \nno JSON");
        assert!(end.is_none());
        let expected = [("3", "{\"a\":1}"), ("5", "{\"b\":2}"), ("6", "no JSON")]
            .map(|(line, text)| (line.to_owned(), Ok(text.to_owned())));
        assert_eq!(found, expected);
    }

    #[test]
    fn an_oversized_line_is_invalid_and_the_next_one_is_read() {
        let longest = "x".repeat(MAX_LINE_BYTES);
        let (found, end) =
            all(format!("{longest}\n{longest}x\n{longest}{longest}\n{{}}").as_bytes());
        assert!(end.is_none());
        let is_good: Vec<_> = found
            .iter()
            .map(|(line, text)| (line.as_str(), text.is_ok()))
            .collect();
        assert_eq!(
            is_good,
            [("1", true), ("2", false), ("3", false), ("4", true)]
        );
    }
}
