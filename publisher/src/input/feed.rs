//! The second pass: a thread reads and parses the inputs and sends chunks of events to the flow.

use std::{sync::Arc, vec};

use tokio::{
    sync::mpsc,
    task::{self, JoinHandle},
};

use super::{CandidateCounts, Input, InputError, Inspection, inspect::event};
use crate::flow::{Sample, Source};

/// Maximum number of events in a chunk.
const CHUNK_EVENTS: usize = 256;

/// A chunk is sent early once its events have this many bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// Capacity of the channel, in chunks.
const CHANNEL: usize = 8;

/// The valid events of inspected inputs.
#[derive(Debug)]
pub struct Feed {
    chunks: mpsc::Receiver<Result<Vec<Sample>, InputError>>,
    /// What is left of the last chunk received.
    rest: vec::IntoIter<Sample>,
    /// The thread; `None` once the end of the inputs was reached.
    reading: Option<JoinHandle<()>>,
}

impl Feed {
    /// Starts a thread that reads the inputs ahead.
    #[must_use]
    pub fn start(inputs: Vec<Input>, inspection: Arc<Inspection>) -> Self {
        let (sender, chunks) = mpsc::channel(CHANNEL);
        let reading = task::spawn_blocking(move || {
            let mut reader = Reader::new(sender, inspection);
            let read = inputs.into_iter().try_for_each(|input| reader.read(input));
            if let Err(err) = read.and_then(|()| reader.send_chunk()) {
                // This fails only if the receiver is gone, and then there is no one to report to.
                let _ = reader.chunks.blocking_send(Err(err));
            }
        });
        Self {
            chunks,
            rest: Vec::new().into_iter(),
            reading: Some(reading),
        }
    }
}

impl Source for Feed {
    type Error = InputError;

    async fn chunk(&mut self, limit: usize) -> Result<Option<Vec<Sample>>, InputError> {
        if self.rest.len() == 0 {
            if let Some(chunk) = self.chunks.recv().await {
                self.rest = chunk?.into_iter();
            } else {
                // The channel also closes if the thread panics, and that is not the end of the inputs.
                if let Some(reading) = self.reading.take() {
                    let read = reading.await;
                    read.unwrap_or_else(|err| std::panic::resume_unwind(err.into_panic()));
                }
                return Ok(None);
            }
        }
        Ok(Some(self.rest.by_ref().take(limit).collect()))
    }
}

struct Reader {
    chunks: mpsc::Sender<Result<Vec<Sample>, InputError>>,
    inspection: Arc<Inspection>,
    /// Valid events so far, in all inputs.
    events: u64,
    chunk: Vec<Sample>,
    bytes: usize,
}

impl Reader {
    fn new(
        chunks: mpsc::Sender<Result<Vec<Sample>, InputError>>,
        inspection: Arc<Inspection>,
    ) -> Self {
        Self {
            chunks,
            inspection,
            events: 0,
            chunk: Vec::with_capacity(CHUNK_EVENTS),
            bytes: 0,
        }
    }

    /// Reads an input to its end. Fails unless it has as many valid and invalid candidates as when it was inspected:
    /// otherwise a truncated input would count as sent completely, and of a growing one events would be sent that were not
    /// inspected.
    fn read(&mut self, mut input: Input) -> Result<(), InputError> {
        let name = input.name.clone();
        let changed = || InputError::Changed { name: name.clone() };
        let (inspected, mut found) = (input.inspected, CandidateCounts::default());
        input.read(&mut |_, candidate| {
            // The inspection reported invalid candidates; sending starts only if they are to be skipped.
            let Ok((event, json)) = candidate.and_then(|json| Ok((event(&json)?, json))) else {
                found.invalid += 1;
                return Ok(());
            };
            found.events += 1;
            if found.events > inspected.events {
                return Err(changed());
            }
            let topic = self.inspection.index.get(&event.topic);
            let topic = *topic.ok_or_else(changed)?;
            let is_new = !self.inspection.repeats.contains(self.events);
            self.events += 1;
            self.add(Sample {
                topic,
                json,
                is_new,
            })
        })?;
        if found == inspected {
            Ok(())
        } else {
            Err(changed())
        }
    }

    fn add(&mut self, sample: Sample) -> Result<(), InputError> {
        self.bytes += sample.json.len();
        self.chunk.push(sample);
        if self.chunk.len() >= CHUNK_EVENTS || self.bytes >= CHUNK_BYTES {
            return self.send_chunk();
        }
        Ok(())
    }

    fn send_chunk(&mut self) -> Result<(), InputError> {
        self.bytes = 0;
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_EVENTS));
        if chunk.is_empty() {
            return Ok(());
        }
        let sent = self.chunks.blocking_send(Ok(chunk));
        sent.map_err(|_| InputError::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn json(topic: &str, id: &str) -> String {
        format!(
            r#"{{"topic":"{topic}","event_id":"{id}","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{{}}}}"#
        )
    }

    type Events = Result<Vec<(usize, Bytes, bool)>, InputError>;

    async fn events_of(content: &str, limit: usize) -> Events {
        events_after(content, content, limit).await
    }

    /// The events of a file whose content changes after the inspection.
    async fn events_after(inspected: &str, content: &str, limit: usize) -> Events {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&path, inspected).unwrap();
        let origin = super::super::Origin::File(path.path().into());
        let (inputs, inspection) = super::super::inspect(&[origin])?;
        std::fs::write(&path, content).unwrap();
        let mut feed = Feed::start(inputs, Arc::new(inspection));
        let mut all = Vec::new();
        while let Some(chunk) = feed.chunk(limit).await? {
            assert!(chunk.len() <= limit);
            all.extend(chunk.into_iter().map(|s| (s.topic, s.json, s.is_new)));
        }
        Ok(all)
    }

    #[tokio::test]
    async fn valid_events_are_returned_unchanged_and_an_identity_is_new_once() {
        let events = [
            json("a", "bc"),
            json("ab", "c"),
            json("a", "bc"),
            json("a", "2"),
        ];
        let content = format!("{}\nnot this\n", events.join("\n"));
        let found = events_of(&content, 3).await.unwrap();
        let expected: Vec<_> = [0, 1, 0, 0]
            .into_iter()
            .zip(events.map(Bytes::from))
            .zip([true, true, false, true])
            .map(|((topic, json), new)| (topic, json, new))
            .collect();
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn an_input_that_changed_after_the_inspection_is_an_error() {
        let [one, two, other] = [json("a", "1"), json("a", "2"), json("b", "3")];
        let before = format!("{one}\nnot this\n{two}\n");
        for after in [
            "",
            &one,
            &format!("{one}\n{two}\n"),
            &format!("{one}\nnot this\n"),
            &format!("{one}\nnot this\nnor this\n"),
            &format!("{before}not this"),
            &format!("{before}{one}"),
            &format!("{one}\nnot this\n{other}\n"),
        ] {
            let changed = events_after(&before, after, 9).await;
            let changed = matches!(changed, Err(InputError::Changed { .. }));
            assert!(changed, "{after}");
        }
    }

    #[tokio::test]
    async fn a_reader_that_panics_is_not_the_end_of_the_inputs() {
        let (_, chunks) = mpsc::channel(1);
        let mut feed = Feed {
            chunks,
            rest: Vec::new().into_iter(),
            reading: Some(task::spawn_blocking(|| panic!("on purpose"))),
        };
        let taken = task::spawn(async move { feed.chunk(1).await.map(|_| ()) });
        assert!(taken.await.unwrap_err().is_panic());
    }
}
