//! Standard output, written when enough has been collected or when the next result is awaited.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Text beyond this size is written without waiting for a pause.
const WRITE_BYTES: usize = 64 * 1024;

/// Why printing ended.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The reader closed the pipe.
    #[error("standard output was closed by its reader")]
    ReaderClosed,
    /// The write failed; the disk may be full.
    #[error("cannot write to standard output")]
    Failed(#[source] io::Error),
}

impl From<io::Error> for OutputError {
    fn from(err: io::Error) -> Self {
        match err.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderClosed,
            _ => Self::Failed(err),
        }
    }
}

/// A writer that collects text.
#[derive(Debug)]
pub struct Output<W> {
    out: W,
    text: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Output<W> {
    pub fn new(out: W) -> Self {
        let text = Vec::new();
        Self { out, text }
    }

    /// The text to which results are appended.
    pub fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Writes the text if it has reached [`WRITE_BYTES`].
    pub async fn write(&mut self) -> Result<(), OutputError> {
        if self.text.len() < WRITE_BYTES {
            return Ok(());
        }
        self.flush().await
    }

    /// Writes the text.
    pub async fn flush(&mut self) -> Result<(), OutputError> {
        self.out.write_all(&self.text).await?;
        self.text.clear();
        Ok(self.out.flush().await?)
    }
}
