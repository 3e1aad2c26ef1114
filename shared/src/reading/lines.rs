//! The lines of a text that arrives in parts.

/// Maximum length of a line. The aggregator accepts events of 512 KiB.
const LINE_BYTES: usize = 4 * 1024 * 1024;

/// A line is too long to be an event.
#[derive(Debug, thiserror::Error)]
#[error("the answer has a line of more than {} MiB: the output is incomplete", LINE_BYTES >> 20)]
pub struct LongLine;

/// Splits a text into lines. No line is passed on before its end has arrived, so nothing is printed in part.
#[derive(Debug, Default)]
pub struct Lines {
    /// The start of a line whose end has not arrived.
    partial: Vec<u8>,
}

impl Lines {
    /// Calls `each` with the lines that end in this part of the text, and keeps the start of the next one.
    ///
    /// # Errors
    /// [`LongLine`].
    pub fn part(&mut self, mut part: &[u8], mut each: impl FnMut(&str)) -> Result<(), LongLine> {
        while let Some(end) = part.iter().position(|byte| *byte == b'\n') {
            let line = &part[..end];
            part = &part[end + 1..];
            if self.partial.is_empty() {
                each(&String::from_utf8_lossy(line));
            } else {
                self.partial.extend_from_slice(line);
                each(&String::from_utf8_lossy(&self.partial));
                self.partial.clear();
            }
        }
        if self.partial.len() + part.len() > LINE_BYTES {
            return Err(LongLine);
        }
        self.partial.extend_from_slice(part);
        Ok(())
    }

    /// Ends the text; its last line may lack a line break.
    pub fn end(&mut self, mut each: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            each(&String::from_utf8_lossy(&self.partial));
            self.partial.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_passed_on_when_its_end_arrives() {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for (part, count) in [("{\"a\"", 0), (":1}", 0), ("\n{}\n\n{", 3), ("\u{e9}}", 3)] {
            lines
                .part(part.as_bytes(), |line| found.push(line.to_owned()))
                .unwrap();
            assert_eq!(found.len(), count);
        }
        lines.end(|line| found.push(line.to_owned()));
        assert_eq!(found, ["{\"a\":1}", "{}", "", "{\u{e9}}"]);
    }

    #[test]
    fn a_line_without_an_end_is_an_error() {
        let mut lines = Lines::default();
        assert!(lines.part(&vec![b'x'; LINE_BYTES], |_| {}).is_ok());
        assert!(lines.part(b"x", |_| {}).is_err());
    }
}
