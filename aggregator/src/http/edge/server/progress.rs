//! The progress of a connection with its current request, and the timeouts that follow from it.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use hyper::rt;
use tokio::time::{Sleep, sleep_until};

use super::deadline::Deadline;

/// An idle connection is closed after this time. Load balancers keep connections to their backends for 60 s, and answer 502
/// if the backend closes one first.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// A connection is closed when the head of a request is not complete this long after its first byte.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// The progress of a connection. Its stream, its service and its timer share it.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    phase: Arc<Mutex<Phase>>,
    answer: Arc<Mutex<Deadline>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// Every byte received so far belongs to requests that were read to their end.
    #[default]
    Whole,
    /// The head of a request is being received.
    Head { since: Instant },
    /// The head was received, and the body was not read to its end.
    Body,
}

impl Progress {
    fn set(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    fn get(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These bytes arrived. Empty lines before a request are not part of it (RFC 9112, section 2.2): some clients send one
    /// after a body.
    pub fn received(&self, bytes: &[u8]) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let is_blank = bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        if *phase == Phase::Whole && !is_blank {
            *phase = Phase::Head {
                since: Instant::now(),
            };
        }
    }

    /// The head of a request is complete, and a body follows.
    pub fn body_follows(&self) {
        self.set(Phase::Body);
    }

    /// The request was read to its end.
    pub fn whole(&self) {
        self.set(Phase::Whole);
    }

    /// Whether the body of the current request was not read to its end. If it was, the next request may already be arriving,
    /// because the connection is read while a request is answered.
    pub fn is_body_unread(&self) -> bool {
        self.get() == Phase::Body
    }

    /// Whether the peer may still be sending the rest of a request.
    pub fn is_whole(&self) -> bool {
        self.get() == Phase::Whole
    }
}

impl Progress {
    /// A response with this deadline is being sent.
    pub fn answers(&self, deadline: Deadline) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    /// When the peer must have read what was sent of the current response so far.
    pub fn deadline(&self) -> Option<tokio::time::Instant> {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        answer.get()
    }
}

impl Phase {
    /// The end of a wait for a head that started at `began`; `idle_until` is its end if no byte arrives.
    fn deadline(self, began: Instant, idle_until: Instant) -> Instant {
        match self {
            // The first bytes can arrive while the previous response is still being sent.
            Self::Head { since } => since.max(began) + HEAD_TIMEOUT,
            Self::Whole | Self::Body => idle_until,
        }
    }
}

/// A timer for hyper, which has a single timeout for an idle connection and for an incomplete head: its length depends on
/// whether a request has started to arrive.
#[derive(Debug, Clone)]
pub struct Timer(pub Progress);

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(HeadDeadline {
            progress: self.0.clone(),
            began: Instant::now(),
            idle_until: deadline,
            sleep: Box::pin(sleep_until(deadline.into())),
        })
    }
}

struct HeadDeadline {
    progress: Progress,
    began: Instant,
    idle_until: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Future for HeadDeadline {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let phase = self.progress.get();
            let deadline = phase.deadline(self.began, self.idle_until).into();
            if self.sleep.deadline() == deadline {
                return self.sleep.as_mut().poll(context);
            }
            self.sleep.as_mut().reset(deadline);
            ready!(self.sleep.as_mut().poll(context));
        }
    }
}

impl rt::Sleep for HeadDeadline {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_has_75_seconds_and_a_head_20_from_its_first_byte() {
        let began = Instant::now();
        let seconds = |seconds| began + Duration::from_secs(seconds);
        let idle_until = began + IDLE_TIMEOUT;
        let until = |phase: Phase| phase.deadline(began, idle_until);
        assert_eq!(until(Phase::Whole), seconds(75));
        let head = |since| Phase::Head { since };
        assert_eq!(until(head(seconds(3))), seconds(23));
        assert_eq!(until(head(seconds(70))), seconds(90));
        // It arrived while the previous response was sent, which took longer than HEAD_TIMEOUT.
        let early = began.checked_sub(Duration::from_secs(30)).unwrap();
        assert_eq!(until(head(early)), seconds(20));
    }

    #[test]
    fn a_head_begins_with_the_first_byte_after_a_whole_request() {
        let progress = Progress::default();
        for blank in ["", "\r\n", "\r", "\n", "\r\n\r\n"] {
            progress.received(blank.as_bytes());
            assert!(progress.is_whole(), "{blank:?}");
        }
        progress.received(b"\r\nG");
        let started = progress.get();
        assert!(matches!(started, Phase::Head { .. }));
        assert!(!progress.is_body_unread());
        progress.received(b"E");
        assert_eq!(progress.get(), started);
        progress.body_follows();
        progress.received(b"12345");
        assert!(progress.is_body_unread());
        progress.whole();
        progress.received(b"G");
        assert!(matches!(progress.get(), Phase::Head { .. }));
    }
}
