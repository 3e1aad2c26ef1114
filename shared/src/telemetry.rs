//! Logs: one line an occurrence on standard error, as text or JSON. And the export of spans.

mod export;

use std::io::{IsTerminal, Write};

use tracing::Metadata;
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

pub use self::export::{Export, ExportError, check_endpoint};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Checks a filter as settings give it: `info`, or `warn,aggregator=debug`.
///
/// # Errors
/// A sentence for people where it is no filter.
pub fn parse_filter(text: &str) -> Result<String, String> {
    EnvFilter::builder()
        .parse(text)
        .map(|_| text.to_owned())
        .map_err(|err| format!("no log filter ({err}); one is info, or warn,aggregator=debug"))
}

/// Installs the process's log. Call it once, first.
///
/// # Panics
/// Where the filter was not checked by [`parse_filter`], or a log is installed already.
pub fn init(filter: &str, format: Format) {
    // What the NATS client says of the link is said by `connection` in the words of this project, and what the LSM
    // tree says of its files by the store.
    let filter = EnvFilter::builder()
        .parse(format!("async_nats=off,lsm_tree=off,{filter}"))
        .expect("the filter was checked where settings were read");
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => log
            .with_ansi(shows_colours(&std::io::stderr()))
            .finish()
            .with(filter_fn(is_told))
            .init(),
        Format::Json => log
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .finish()
            .with(filter_fn(is_told))
            .init(),
    }
}

/// What OpenTelemetry says of itself is said by `export` in the words of this project, but for the spans that it drops
/// because too many wait: it says that once, and at the end how many they were.
fn is_told(metadata: &Metadata<'_>) -> bool {
    let drops = [
        "BatchSpanProcessor.SpanDroppingStarted",
        "BatchSpanProcessor.SpansDropped",
    ];
    !metadata.target().starts_with("opentelemetry") || drops.contains(&metadata.name())
}

/// Prints what a person asked the program for, in colours where standard output takes them.
///
/// # Errors
/// Where it cannot be written.
pub fn print(plain: &str, coloured: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let text = if shows_colours(&out) { coloured } else { plain };
    out.write_all(text.as_bytes())
}

/// Whether a stream takes colours: a terminal does, unless its person has set `NO_COLOR` (<https://no-color.org>) or
/// says that it can do nothing.
#[must_use]
pub fn shows_colours(stream: &impl IsTerminal) -> bool {
    let refuses = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    stream.is_terminal() && !refuses && !is_dumb
}

/// The message of a command line error without its usage hints, on one line.
#[must_use]
pub fn one_line(message: &str) -> String {
    let mut lines = message.lines().map(str::trim);
    let first = lines.by_ref().take_while(|line| !line.is_empty());
    first.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex, mpsc},
    };

    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{
            BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter,
        },
    };

    use super::*;

    /// Exports nothing until the other end of its channel is gone.
    #[derive(Debug)]
    struct Stuck(Mutex<mpsc::Receiver<()>>);

    impl SpanExporter for Stuck {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            let _ = self.0.lock().unwrap().recv();
            Ok(())
        }
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn of_what_opentelemetry_says_only_dropped_spans_are_told_and_once() {
        let (release, stuck) = mpsc::channel();
        let waiting = BatchConfigBuilder::default().with_max_queue_size(1).build();
        let processor = BatchSpanProcessor::builder(Stuck(Mutex::new(stuck)))
            .with_batch_config(waiting)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .build();
        let log = Log::default();
        let writer = log.clone();
        let subscriber = fmt().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber.with(filter_fn(is_told)), || {
            tracing::warn!(target: "opentelemetry_sdk", "noise");
            let tracer = provider.tracer("test");
            // One is with the exporter, and one waits.
            for _ in 0..10 {
                drop(tracer.start("span"));
            }
        });
        drop(release);
        provider.shutdown().unwrap();
        let told = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(told.contains("dropped a Span"), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}
