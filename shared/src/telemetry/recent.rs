//! The last log lines, in memory, so that a support report can contain them wherever the log itself goes.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that are kept; beyond that the oldest are dropped.
const KEPT: usize = 64 * 1024;

/// Bytes of a line that are kept.
const LONGEST: usize = 4 * 1024;

/// The last log lines, up to 64 KiB of them. Cheap to clone; clones share the lines.
#[derive(Debug, Clone, Default)]
pub struct Recent(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Recent {
    /// The lines, oldest first, as they were logged but without colours. A line of more than 4 KiB is cut off.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.lines.iter().cloned().collect()
    }

    fn add(&self, line: &str) {
        let line = anstream::adapter::strip_str(line).to_string();
        let line = line.trim_end();
        let line = &line[..line.floor_char_boundary(LONGEST)];
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += line.len();
        kept.lines.push_back(line.to_owned());
        while kept.bytes > KEPT {
            let oldest = kept.lines.pop_front();
            kept.bytes -= oldest.map_or(0, |line| line.len());
        }
    }
}

/// Receives each line in one call.
impl io::Write for Recent {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.add(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Recent {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_go_and_a_long_one_is_cut_off() {
        let recent = Recent::default();
        recent.add("\u{1b}[33mWARN\u{1b}[0m first\n");
        assert_eq!(recent.lines(), ["WARN first"]);
        recent.add(&"ä".repeat(LONGEST));
        assert_eq!(recent.lines()[1].len(), LONGEST);
        for n in 0..100 {
            recent.add(&format!("{n:1000}"));
        }
        let lines = recent.lines();
        assert_eq!(lines.len(), KEPT / 1000);
        assert!(lines.last().unwrap().ends_with(" 99"), "{lines:?}");
    }
}
