//! One session: from the comparison of stream and store to the last ack.

use std::{pin::pin, sync::Arc, time::Duration};

use async_nats::jetstream::{
    self,
    consumer::pull::{self, MessagesError, MessagesErrorKind},
    message::AckKind,
    stream::{Info, Stream},
};
use futures::{StreamExt, stream::FuturesUnordered};
use shared::{
    connection::Denial,
    stream::{self, StreamState},
    trace::Tracer,
};
use tokio::time::{Instant, Interval, interval_at, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Consumer, SessionError,
    batch::{Ackers, Batch, Step},
    durable::{self, Claim, Use},
    replicas,
    stores::Stores,
    trace, trim, watchdog,
};
use crate::{
    health::Part,
    metrics::Committed,
    store::{Looked, ObservedStream, Position, StoreError, ranges::Ranges},
};

/// The pull is requested again if the broker sends neither a message nor a heartbeat for two of these.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long after the start of a session a pull is refused at most, if it is not permitted.
const DENIED_AGAIN: Duration = Duration::from_secs(2);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How a session ended without an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The token was cancelled.
    Stopped,
    /// The connection was lost, or lost and re-established: it may be to another broker.
    LinkChanged,
}

impl Consumer {
    pub(super) async fn session(
        &self,
        token: &CancellationToken,
        connects: u64,
        stores: &mut Stores,
        (has_consumed, was_denied): (&mut bool, bool),
    ) -> Result<End, SessionError> {
        let denials = self.connection.denials();
        let (stream, state, messages) = tokio::select! {
            started = self.connection.permitted(Box::pin(self.start(stores))) => {
                started.map_err(SessionError::Denied)??
            }
            () = token.cancelled() => return Ok(End::Stopped),
        };
        *has_consumed = true;
        self.health.works(Part::Stream);
        if !was_denied {
            self.health.works(Part::Consumer);
        }
        tokio::select! {
            end = self.consume(messages, token, (connects, denials, was_denied)) => end,
            never = trim::run(self, &stream, &state, connects, stores) => match never {},
            stalled = watchdog::run(self, &stream) => Err(stalled),
        }
    }

    /// Compares stream and store, ensures the durable, and begins to pull.
    async fn start(
        &self,
        stores: &mut Stores,
    ) -> Result<(Stream<Info>, StreamState, pull::Stream), SessionError> {
        // Before the stream is observed: what others apply meanwhile must not seem to be beyond its end.
        let looked = self.look().await?;
        let mut stream = stream::ensure(self.connection.jetstream(), &self.stream).await?;
        let resized = trim::resize(self, stream.cached_info(), stores).await;
        // Lowering can wait; it is retried while the stream is consumed.
        if let Err(err) = resized
            && stream::is_below(stream.cached_info(), &self.stream)
        {
            return Err(err.into());
        }
        let applied = self.writer.standing().witness;
        replicas::caught_up(&mut stream, applied.map_or(0, |last| last.sequence)).await?;
        let state = StreamState::of(stream.cached_info());
        let position = self.compare(&stream, state.clone(), looked).await?;
        let claim = Claim {
            name: &self.durable,
            position: &position,
            location: &self.location,
            take_over: self.take_over,
            last: state.last,
            used: Use::of(&self.writer),
        };
        // The client requests again when half of the bytes or of the messages have arrived, each time the full amount, so up to
        // twice these bytes are in transit in addition to four batches: `BATCHES_IN_FLIGHT` and the one that is gathered. At least
        // one message of the broker's largest size must fit.
        let pull_bytes = self
            .pull_bytes
            .max(2 * self.connection.client().max_payload());
        let durable = match claim.used {
            Use::Alone => durable::ensure(&stream, &claim).await?,
            Use::Shared => durable::ensure_shared(&stream, &claim, &self.writer).await?,
        };
        let messages = durable
            .stream()
            .max_messages_per_batch(claim.used.pull_messages())
            .max_bytes_per_batch(pull_bytes)
            .heartbeat(HEARTBEAT)
            .expires(HEARTBEAT * 6)
            .messages()
            .await
            .map_err(|err| SessionError::Pull(stream::reason(&err.into())))?;
        info!(
            stream.name = state.name,
            stream.first = state.first,
            stream.last = state.last,
            floor = position.standing.floor,
            missing = position.missing,
            "consuming"
        );
        Ok((stream, state, messages))
    }

    async fn look(&self) -> Result<Option<Looked>, SessionError> {
        let looked = self.writer.look().await;
        if let Err(err) = &looked {
            self.health.fails(Part::Store, err.to_string());
        }
        Ok(looked?)
    }

    /// Compares stream and store. The stream may have another message at the sequence of the last one that was applied;
    /// then the broker lost its tail and reused its sequences, and the applied ones belong to an earlier incarnation.
    async fn compare(
        &self,
        stream: &Stream<Info>,
        state: StreamState,
        looked: Option<Looked>,
    ) -> Result<Position, SessionError> {
        let mut deleted = Ranges::default();
        for sequence in stream::deleted(stream).await? {
            deleted.insert(sequence, sequence);
        }
        let mut observed = ObservedStream {
            stream: state,
            deleted,
            is_other: false,
            begins: stream.cached_info().config.first_sequence.unwrap_or(1),
            looked,
        };
        let position = self
            .writer
            .meet(observed.clone(), self.writer.clock().now())
            .await;
        match &position {
            Ok(_) => self.health.works(Part::Store),
            Err(err) => self.health.fails(Part::Store, err.to_string()),
        }
        let position = position?;
        let Some(witness) = position.standing.witness else {
            return Ok(position);
        };
        let time = stream::time_of(stream, witness.sequence).await?;
        if time.is_none_or(|time| time == witness.time) {
            return Ok(position);
        }
        observed.is_other = true;
        Ok(self
            .writer
            .meet(observed, self.writer.clock().now())
            .await?)
    }

    /// Pulls until the session ends, then appends its batches. While batches are looked up and commit, the next
    /// one is gathered. Further messages in the client's buffer stay unacked and are delivered again to the next session
    /// immediately.
    async fn consume(
        &self,
        mut messages: pull::Stream,
        token: &CancellationToken,
        (connects, denials, was_denied): (u64, u64, bool),
    ) -> Result<End, SessionError> {
        // A pull or an ack that was refused is refused again soon, if it still is not permitted.
        let mut is_unproved = was_denied;
        let mut proved = pin!(sleep(DENIED_AGAIN));
        let mut denied = pin!(self.connection.denied(denials, Denial::is_of_delivery));
        let mut gathering = Batch::default();
        let mut committing = FuturesUnordered::new();
        let mut end: Option<Result<End, SessionError>> = None;
        let mut progress = self.progress();
        loop {
            let is_open = end.is_none();
            let limits = if is_open {
                self.limits
            } else {
                self.limits.without_wait()
            };
            let step = gathering.next_step(&limits, Instant::now(), committing.len());
            if step == Step::Append {
                let batch = std::mem::take(&mut gathering);
                committing.push(self.commit(batch, token, connects));
                continue;
            }
            if committing.is_empty()
                && let Some(end) = end
            {
                return end;
            }
            let due = match step {
                Step::WaitUntil(due) => due,
                Step::Append | Step::WaitForCommit => None,
            };
            let has_room = !gathering.is_full(&limits);
            tokio::select! {
                Some(done) = committing.next() => {
                    if let Err(err) = done {
                        end = Some(Err(err));
                    }
                }
                message = messages.next(), if is_open && has_room => {
                    match message {
                        Some(Ok(_)) if !self.connection.is_still(connects) => end = Some(Ok(End::LinkChanged)),
                        Some(Ok(message)) => take(&mut gathering, message, &self.tracer),
                        Some(Err(err)) => end = Some(Err(SessionError::Pull(silence(&err)))),
                        None => end = Some(Err(SessionError::Pull("the pull ended".to_owned()))),
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                _ = progress.tick() => self.ack(&gathering.ackers, AckKind::Progress, connects).await,
                denial = &mut denied, if is_open => end = Some(Err(SessionError::Denied(denial))),
                () = &mut proved, if is_unproved => {
                    is_unproved = false;
                    self.health.works(Part::Consumer);
                }
                () = token.cancelled(), if is_open => end = Some(Ok(End::Stopped)),
                () = self.connection.changed_since(connects), if is_open => {
                    end = Some(Ok(End::LinkChanged));
                }
            }
        }
    }

    /// Appends a batch, retrying after failures, and acks it after COMMIT. Stops retrying when the service stops:
    /// unacked messages stay in the stream.
    async fn commit(
        &self,
        batch: Batch,
        token: &CancellationToken,
        connects: u64,
    ) -> Result<(), SessionError> {
        let events = batch.events();
        let Batch {
            deliveries,
            ackers,
            mut spans,
            ..
        } = batch;
        let mut span = trace::batch(&self.tracer, deliveries.len(), events, &mut spans);
        let deliveries = Arc::new(deliveries);
        let mut pause = FIRST_PAUSE;
        loop {
            let started = Instant::now();
            let append = self
                .writer
                .append(Arc::clone(&deliveries), self.writer.clock().now());
            match self.with_progress(append, &ackers, connects).await {
                Ok(appended) => {
                    self.health.works(Part::Store);
                    self.health.works(Part::Progress);
                    let took = started.elapsed();
                    self.metrics.committed(&Committed {
                        took,
                        messages: deliveries.len(),
                        events,
                        appended: &appended,
                    });
                    trace::committed(&mut span, &appended);
                    // The spans end here, with the COMMIT.
                    drop((span, spans));
                    let commit_ms = took.as_secs_f64() * 1_000.0;
                    debug!(
                        batch.messages = deliveries.len(),
                        batch.events = events,
                        commit_ms,
                        ?appended,
                        "appended"
                    );
                    self.ack(&ackers, AckKind::Ack, connects).await;
                    if appended.epoch_begun {
                        return Err(SessionError::Epoch);
                    }
                    return Ok(());
                }
                Err(StoreError::Stopped) => return Err(SessionError::WriterStopped),
                // The messages are of a stream that is gone, or are delivered again.
                Err(StoreError::Superseded) => {
                    trace::not_committed(&mut span, &mut spans);
                    return Err(SessionError::Superseded);
                }
                Err(err) => {
                    self.metrics.commit_failed();
                    if err.is_passing() {
                        pause = FIRST_PAUSE;
                    }
                    self.health.fails(Part::Store, err.to_string());
                }
            }
            if token.is_cancelled() {
                trace::not_committed(&mut span, &mut spans);
                warn!(
                    batch.events = events,
                    "stopping; the messages of an uncommitted batch stay in the stream"
                );
                return Ok(());
            }
            tokio::select! {
                () = self.with_progress(sleep(pause), &ackers, connects) => {}
                () = token.cancelled() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// When the broker is notified that deliveries are still being processed.
    fn progress(&self) -> Interval {
        let period = Use::of(&self.writer).progress();
        interval_at(Instant::now() + period, period)
    }

    /// Sends acks through the connection that delivered the messages, and none once it is lost: the client
    /// would queue them and send them to a broker that may have reused the sequences.
    async fn ack(&self, ackers: &Ackers, kind: AckKind, connects: u64) {
        tokio::select! {
            biased;
            () = self.connection.changed_since(connects) => {}
            () = ackers.send(kind) => {}
        }
    }

    /// Waits for `work`, notifying the broker meanwhile that the deliveries are still being processed.
    async fn with_progress<T>(
        &self,
        work: impl Future<Output = T>,
        ackers: &Ackers,
        connects: u64,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let mut progress = self.progress();
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = progress.tick() => self.ack(ackers, AckKind::Progress, connects).await,
            }
        }
    }
}

/// Why the broker stopped sending messages.
fn silence(err: &MessagesError) -> String {
    match err.kind() {
        MessagesErrorKind::MissingHeartbeat => format!(
            "the broker sent neither a message nor a heartbeat for {:?}, as after the end of a server of its cluster",
            HEARTBEAT * 2
        ),
        MessagesErrorKind::NoResponders => {
            "no server of the broker serves the durable consumer at the moment".to_owned()
        }
        _ => err.to_string(),
    }
}

/// Decodes a message into the batch.
fn take(gathering: &mut Batch, message: jetstream::Message, tracer: &Tracer) {
    let subject = message.subject.clone();
    if let Err(err) = gathering.add(message, tracer) {
        // Not from the stream: it has no sequence, so there is nothing to ack.
        warn!(subject = %subject, error = %err, "ignored a message that is not a delivery from the stream");
    }
}
