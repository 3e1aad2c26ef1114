//! The byte stream of a connection, closed in a way that does not destroy the last response.

use std::{
    future::Future,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::progress::Progress;

/// Most bytes of an unread request that are discarded before the connection is closed: four bodies of the maximum size.
const MAX_DISCARDED: usize = 64 * 1024 * 1024;

/// Longest time that this may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(30);

/// The connection is closed sooner if its peer sends nothing for this time.
const SILENCE: Duration = Duration::from_secs(5);

/// Bytes discarded at a time.
const DISCARD_BYTES: usize = 16 * 1024;

/// A stream whose [`shutdown`](AsyncWrite::poll_shutdown) first closes the write direction, and then, if a request was not
/// read to its end, reads and discards the rest.
///
/// Many clients write all of a request before they read the response. Closing a connection with unread bytes resets it, and
/// such a client gets an error instead of the response.
#[derive(Debug)]
pub struct Stream<S> {
    inner: S,
    progress: Progress,
    /// Sleeps until the deadline of the response that is being sent; set when sending first had to wait.
    late: Option<Pin<Box<Sleep>>>,
    discard: Option<Discard>,
}

/// The response is sent, and what still arrives is discarded.
#[derive(Debug)]
struct Discard {
    left: usize,
    end: Instant,
    /// Sleeps until the peer has been silent for too long, or until `end`.
    sleep: Pin<Box<Sleep>>,
}

impl Discard {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            left: MAX_DISCARDED,
            end: now + DISCARD_TIMEOUT,
            sleep: Box::pin(sleep_until(now + SILENCE)),
        }
    }

    /// Ready when the peer has closed its direction, or a limit is reached.
    fn poll<S: AsyncRead + Unpin>(
        &mut self,
        mut stream: Pin<&mut S>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            let mut bytes = [MaybeUninit::uninit(); DISCARD_BYTES];
            let mut bytes = ReadBuf::uninit(&mut bytes);
            match stream.as_mut().poll_read(context, &mut bytes) {
                Poll::Ready(Ok(())) if !bytes.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.sleep.as_mut().poll(context),
            }
            let now = Instant::now();
            self.left = self.left.saturating_sub(bytes.filled().len());
            if self.left == 0 || now >= self.end {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.end.min(now + SILENCE));
        }
    }
}

impl<S> Stream<S> {
    /// The byte stream of a connection, which reports received bytes to `progress`.
    pub fn new(inner: S, progress: Progress) -> Self {
        Self {
            inner,
            progress,
            late: None,
            discard: None,
        }
    }

    /// The result of sending, or an error if it has to wait and the response is past its deadline. The body alone cannot
    /// enforce that: it is not polled while the peer reads only a few bytes now and then.
    fn unless_late<T>(
        &mut self,
        sent: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        let Some(deadline) = self.progress.deadline().filter(|_| sent.is_pending()) else {
            return sent;
        };
        let late = self
            .late
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if late.deadline() != deadline {
            late.as_mut().reset(deadline);
        }
        ready!(late.as_mut().poll(context));
        let late = "the client did not read the response in time";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, late)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = bytes.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, bytes))?;
        self.progress.received(&bytes.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.unless_late(sent, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        self.unless_late(sent, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.inner).poll_flush(context);
        self.unless_late(sent, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.discard.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
            if this.progress.is_whole() {
                return Poll::Ready(Ok(()));
            }
        }
        let discard = this.discard.get_or_insert_with(Discard::new);
        discard.poll(Pin::new(&mut this.inner), context).map(Ok)
    }
}
