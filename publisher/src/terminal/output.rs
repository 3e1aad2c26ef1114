//! Standard output as lines: none is begun whose end has not come, so that who reads them can read each.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};

/// Longest line that is waited for. The aggregator takes events of 512 KiB.
const LINE_BYTES: usize = 4 * 1024 * 1024;

/// Why no more can be printed.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The reader has what it wanted.
    #[error("nobody reads standard output")]
    NobodyReads,
    /// The disk may be full.
    #[error("cannot write to standard output")]
    Failed(#[source] io::Error),
    /// It is no answer of events.
    #[error("the answer has a line of more than {} MiB: the output is not whole", LINE_BYTES >> 20)]
    LongLine,
}

impl From<io::Error> for OutputError {
    fn from(err: io::Error) -> Self {
        match err.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Failed(err),
        }
    }
}

/// Where lines go.
#[derive(Debug)]
pub struct Output<W> {
    out: BufWriter<W>,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Output<W> {
    pub fn new(out: W) -> Self {
        Self {
            out: BufWriter::with_capacity(64 * 1024, out),
            begun: Vec::new(),
        }
    }

    /// Writes one line. JSON may have line breaks between its tokens, where spaces mean the same.
    pub async fn line(&mut self, json: &str) -> Result<(), OutputError> {
        if json.contains(['\r', '\n']) {
            let line = json.replace(['\r', '\n'], " ");
            self.out.write_all(line.as_bytes()).await?;
        } else {
            self.out.write_all(json.as_bytes()).await?;
        }
        Ok(self.out.write_all(b"\n").await?)
    }

    /// Writes the lines that end in this part of a text, and keeps the last one's beginning.
    pub async fn part(&mut self, part: &[u8]) -> Result<(), OutputError> {
        let (lines, begun) = match part.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => part.split_at(end + 1),
            None => (&[][..], part),
        };
        if !lines.is_empty() {
            self.out.write_all(&self.begun).await?;
            self.begun.clear();
            self.out.write_all(lines).await?;
        }
        if self.begun.len() + begun.len() > LINE_BYTES {
            return Err(OutputError::LongLine);
        }
        self.begun.extend_from_slice(begun);
        Ok(())
    }

    /// The text is whole: its last line may do without a line break.
    pub async fn end(&mut self) -> Result<(), OutputError> {
        if !self.begun.is_empty() {
            self.part(b"\n").await?;
        }
        self.flush().await
    }

    /// Shows what was written.
    pub async fn flush(&mut self) -> Result<(), OutputError> {
        Ok(self.out.flush().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shown(output: &mut Output<Vec<u8>>) -> &str {
        output.flush().await.unwrap();
        std::str::from_utf8(output.out.get_ref()).unwrap()
    }

    #[tokio::test]
    async fn a_line_shows_when_its_end_has_come() {
        let mut output = Output::new(Vec::new());
        for (part, whole) in [
            ("{\"a\"", ""),
            (":1}", ""),
            ("\n{}\n{", "{\"a\":1}\n{}\n"),
            ("}", "{\"a\":1}\n{}\n"),
        ] {
            output.part(part.as_bytes()).await.unwrap();
            assert_eq!(shown(&mut output).await, whole);
        }
        output.end().await.unwrap();
        assert_eq!(shown(&mut output).await, "{\"a\":1}\n{}\n{}\n");
    }

    #[tokio::test]
    async fn json_on_many_lines_becomes_one() {
        let mut output = Output::new(Vec::new());
        output.line("{\r\n\"a\":\n1}").await.unwrap();
        assert_eq!(shown(&mut output).await, "{  \"a\": 1}\n");
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_given_up() {
        let mut output = Output::new(Vec::new());
        output.part(&vec![b'x'; LINE_BYTES]).await.unwrap();
        let more = output.part(b"x").await;
        assert!(matches!(more, Err(OutputError::LongLine)), "{more:?}");
    }
}
