//! The bytes of a connection, which is closed in a way that does not destroy the last answer.

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

/// Most bytes of an unread request that are dropped before the connection is closed: four of the largest bodies.
const MOST_DROPPED: usize = 64 * 1024 * 1024;

/// How long that may take in all.
const DROPPING: Duration = Duration::from_secs(30);

/// The connection is closed sooner when its peer sends nothing for this time.
const SILENCE: Duration = Duration::from_secs(5);

/// Bytes dropped at a time.
const DROPPED_AT_ONCE: usize = 16 * 1024;

/// A stream whose [`shutdown`](AsyncWrite::poll_shutdown) first ends its own direction, and then, where a request was not
/// read to its end, reads and drops the rest.
///
/// Many clients write all of a request before they read the answer. Closing a connection with unread bytes resets it,
/// and such a client gets an error in place of the answer.
#[derive(Debug)]
pub struct Stream<S> {
    inner: S,
    progress: Progress,
    /// Until the deadline of the answer that is being sent, once it had to wait.
    late: Option<Pin<Box<Sleep>>>,
    dropping: Option<Dropping>,
}

/// The answer is sent, and what still arrives is dropped.
#[derive(Debug)]
struct Dropping {
    left: usize,
    end: Instant,
    /// Until the peer has been silent for too long, or the end.
    sleep: Pin<Box<Sleep>>,
}

impl Dropping {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            left: MOST_DROPPED,
            end: now + DROPPING,
            sleep: Box::pin(sleep_until(now + SILENCE)),
        }
    }

    /// Ready when the peer has ended its direction or everything is dropped that may be.
    fn poll<S: AsyncRead + Unpin>(
        &mut self,
        mut stream: Pin<&mut S>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            let mut bytes = [MaybeUninit::uninit(); DROPPED_AT_ONCE];
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
    /// The bytes of a connection that tells `progress` what it receives.
    pub fn new(inner: S, progress: Progress) -> Self {
        Self {
            inner,
            progress,
            late: None,
            dropping: None,
        }
    }

    /// What came of sending, or an error where it has to wait and the answer is late. The body alone cannot see to that:
    /// nobody asks it for more while the peer takes a few bytes now and then.
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
        let late = "the client did not take the answer in time";
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
        if this.dropping.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
            if this.progress.is_whole() {
                return Poll::Ready(Ok(()));
            }
        }
        let dropping = this.dropping.get_or_insert_with(Dropping::new);
        dropping.poll(Pin::new(&mut this.inner), context).map(Ok)
    }
}
