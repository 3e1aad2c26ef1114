//! The requests of a connection, each a task, and the time in which their clients read the responses.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Error, body::Body};
use bytes::Bytes;
use hyper::{
    body::{Frame, SizeHint},
    rt::Executor,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tracing::debug;

use crate::http::edge::server::{
    deadline::{self, Deadline},
    places::Place,
};

tokio::task_local! {
    /// That of the request whose task this is. The task is made by the protocol, which passes nothing else to it.
    static ANSWERING: Arc<Answering>;
}

/// The requests that are being answered. Cheap to clone; clones share one state.
#[derive(Debug, Clone)]
pub struct Streams(Arc<Mutex<Running>>);

#[derive(Debug)]
struct Running {
    tasks: JoinSet<()>,
    count: usize,
    /// When the last of them ended.
    idle_since: Instant,
}

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Running {
            tasks: JoinSet::new(),
            count: 0,
            idle_since: Instant::now(),
        })))
    }
}

impl Streams {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there was no request for this time, which begins at `from` or later.
    pub async fn idle(&self, from: Instant, time: Duration) {
        loop {
            let now = Instant::now();
            let end = {
                let running = self.running();
                let since = if running.count == 0 {
                    running.idle_since
                } else {
                    now
                };
                since.max(from) + time
            };
            if end <= now {
                return;
            }
            sleep_until(end).await;
        }
    }

    /// Ends the requests when it is dropped: the tasks hold what would otherwise end them.
    pub fn ending(&self) -> Ending {
        Ending(self.clone())
    }
}

/// Ends the requests of a connection when it is dropped.
#[derive(Debug)]
pub struct Ending(Streams);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.running().tasks.abort_all();
    }
}

/// Counts a request until it is dropped.
struct Counted(Streams);

impl Drop for Counted {
    fn drop(&mut self) {
        let mut running = self.0.running();
        running.count -= 1;
        running.idle_since = Instant::now();
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let mut running = self.running();
        while running.tasks.try_join_next().is_some() {}
        running.count += 1;
        let counted = Counted(self.clone());
        let answering = Arc::<Answering>::default();
        let waiting = Arc::clone(&answering);
        running.tasks.spawn(ANSWERING.scope(answering, async move {
            let _counted = counted;
            tokio::select! {
                () = stream => {}
                // Dropping the stream resets it.
                () = waiting.late() => debug!("a client did not read a response in time"),
            }
        }));
    }
}

/// The response to a request.
#[derive(Debug, Default)]
pub struct Answering(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    deadline: Deadline,
    /// Whether a part of the response waits until the client has read the one before.
    is_waiting: bool,
}

impl Answering {
    /// That of the current task.
    pub fn of_task() -> Arc<Self> {
        ANSWERING.with(Arc::clone)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A response with this deadline is being sent.
    pub fn answers(&self, deadline: Deadline) {
        self.state().deadline = deadline;
    }

    /// Waits until a part of the response is not read in time.
    async fn late(&self) {
        loop {
            let deadline = {
                let state = self.state();
                state.deadline.get().filter(|_| state.is_waiting)
            };
            match deadline {
                Some(deadline) if deadline <= Instant::now() => return,
                Some(deadline) => sleep_until(deadline).await,
                // What is sent from now on may take at least this long.
                None => sleep(deadline::SHORTEST).await,
            }
        }
    }
}

/// Most bytes of a frame. The protocol takes a whole one as soon as the client has room for a byte of it. So the last byte of what is
/// left has a frame of its own: while a client does not read, at most one byte of a response is beyond its deadline.
const FRAME_BYTES: usize = 16 * 1024;

/// The body of a response, which knows whether it is waiting for the client: the protocol asks for a frame when it can send the one
/// before.
pub struct Read {
    body: Body,
    /// What is left of a frame of the body that is larger.
    rest: Bytes,
    answering: Arc<Answering>,
    _place: Option<Place>,
}

impl Read {
    /// It keeps the place until it is sent.
    pub fn new(body: Body, answering: Arc<Answering>, place: Option<Place>) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            answering,
            _place: place,
        }
    }
}

impl hyper::body::Body for Read {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.answering.state().is_waiting = false;
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(err)) => return Poll::Ready(Some(Err(err))),
                None => return Poll::Ready(None),
            }
        }
        self.answering.state().is_waiting = true;
        let bytes = match self.rest.len() {
            one @ (0 | 1) => one,
            more => (more - 1).min(FRAME_BYTES),
        };
        let data = self.rest.split_to(bytes);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, of_body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        if let Some(upper) = of_body.upper() {
            hint.set_upper(rest + upper);
        }
        hint.set_lower(rest + of_body.lower());
        hint
    }
}
