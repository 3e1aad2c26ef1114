//! Standard output in whole lines: no line is written before its end has arrived, so a reader never sees part of one.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};

/// Maximum length of a line. The aggregator accepts events of 512 KiB.
const LINE_BYTES: usize = 4 * 1024 * 1024;

/// Why printing ended.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The reader closed the pipe.
    #[error("standard output was closed by its reader")]
    ReaderClosed,
    /// The write failed; the disk may be full.
    #[error("cannot write to standard output")]
    Failed(#[source] io::Error),
    /// The answer is not a list of events.
    #[error("the answer has a line of more than {} MiB: the output is incomplete", LINE_BYTES >> 20)]
    LongLine,
}

impl From<io::Error> for OutputError {
    fn from(err: io::Error) -> Self {
        match err.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderClosed,
            _ => Self::Failed(err),
        }
    }
}

/// A writer of lines.
#[derive(Debug)]
pub struct Output<W> {
    out: BufWriter<W>,
    /// The start of a line whose end has not arrived.
    partial: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Output<W> {
    pub fn new(out: W) -> Self {
        Self {
            out: BufWriter::with_capacity(64 * 1024, out),
            partial: Vec::new(),
        }
    }

    /// Writes JSON as one line: line breaks between its tokens become spaces, which mean the same.
    pub async fn line(&mut self, json: &str) -> Result<(), OutputError> {
        if json.contains(['\r', '\n']) {
            let line = json.replace(['\r', '\n'], " ");
            self.out.write_all(line.as_bytes()).await?;
        } else {
            self.out.write_all(json.as_bytes()).await?;
        }
        Ok(self.out.write_all(b"\n").await?)
    }

    /// Writes the lines that end in this part of a text, and keeps the start of the next one.
    pub async fn part(&mut self, part: &[u8]) -> Result<(), OutputError> {
        let (lines, partial) = match part.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => part.split_at(end + 1),
            None => (&[][..], part),
        };
        if !lines.is_empty() {
            self.out.write_all(&self.partial).await?;
            self.partial.clear();
            self.out.write_all(lines).await?;
        }
        if self.partial.len() + partial.len() > LINE_BYTES {
            return Err(OutputError::LongLine);
        }
        self.partial.extend_from_slice(partial);
        Ok(())
    }

    /// Ends the text; its last line may lack a line break.
    pub async fn end(&mut self) -> Result<(), OutputError> {
        if !self.partial.is_empty() {
            self.part(b"\n").await?;
        }
        self.flush().await
    }

    /// Flushes what was written.
    pub async fn flush(&mut self) -> Result<(), OutputError> {
        Ok(self.out.flush().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn written(output: &mut Output<Vec<u8>>) -> &str {
        output.flush().await.unwrap();
        std::str::from_utf8(output.out.get_ref()).unwrap()
    }

    #[tokio::test]
    async fn a_line_is_written_when_its_end_arrives() {
        let mut output = Output::new(Vec::new());
        for (part, whole) in [
            ("{\"a\"", ""),
            (":1}", ""),
            ("\n{}\n{", "{\"a\":1}\n{}\n"),
            ("}", "{\"a\":1}\n{}\n"),
        ] {
            output.part(part.as_bytes()).await.unwrap();
            assert_eq!(written(&mut output).await, whole);
        }
        output.end().await.unwrap();
        assert_eq!(written(&mut output).await, "{\"a\":1}\n{}\n{}\n");
    }

    #[tokio::test]
    async fn json_with_line_breaks_becomes_one_line() {
        let mut output = Output::new(Vec::new());
        output.line("{\r\n\"a\":\n1}").await.unwrap();
        assert_eq!(written(&mut output).await, "{  \"a\": 1}\n");
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_an_error() {
        let mut output = Output::new(Vec::new());
        output.part(&vec![b'x'; LINE_BYTES]).await.unwrap();
        let more = output.part(b"x").await;
        assert!(matches!(more, Err(OutputError::LongLine)), "{more:?}");
    }
}
