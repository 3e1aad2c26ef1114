//! Logging, one line per event, to standard error as text or JSON; and the export of spans.

mod export;
mod recent;

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, fmt, fmt::writer::MakeWriterExt, layer::SubscriberExt,
    util::SubscriberInitExt,
};

pub use self::{
    export::{Export, ExportError, check_endpoint},
    recent::Recent,
};
use crate::command_line::shows_colours;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Human-readable text.
    Text,
    /// One JSON object per line.
    Json,
}

/// Checks a log filter from the settings, such as `info` or `warn,aggregator=debug`, and returns it unchanged.
///
/// # Errors
/// A human-readable message if the filter is not valid.
pub fn parse_filter(text: &str) -> Result<String, String> {
    EnvFilter::builder()
        .parse(text)
        .map(|_| text.to_owned())
        .map_err(|err| {
            format!(
                "not a log filter ({err}); expected a filter such as info or warn,aggregator=debug"
            )
        })
}

/// Installs the global logger. Must be called once, before anything is logged. Returns the last lines that it logs with the
/// level info or above: at the levels below, the lines of every request would displace the lines about state changes.
///
/// # Panics
/// If the filter was not checked by [`parse_filter`], or a logger is already installed.
pub fn init(filter: &str, format: Format) -> Recent {
    // The NATS client and the LSM tree are silenced unless the filter enables them: `connection` logs the state of the
    // link, and the store logs the state of its files.
    let filter = EnvFilter::builder()
        .parse(format!("async_nats=off,lsm_tree=off,{filter}"))
        .expect("the filter was checked when the settings were parsed");
    let recent = Recent::default();
    let kept = recent.clone().with_max_level(Level::INFO);
    let log = fmt()
        .with_env_filter(filter)
        // A line that cannot be written, to a full disk or a terminal that was closed, would be reported on standard error again,
        // and end the task that logs it.
        .log_internal_errors(false)
        .with_writer(std::io::stderr.and(kept));
    match format {
        Format::Text => log
            .with_ansi(shows_colours(&std::io::stderr()))
            .finish()
            .with(filter_fn(is_logged))
            .init(),
        Format::Json => log
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .finish()
            .with(filter_fn(is_logged))
            .init(),
    }
    recent
}

/// Whether an event is logged. OpenTelemetry's own events are not, because `export` logs its failures. The exception is
/// spans dropped because the queue is full: OpenTelemetry logs the first drop, and the total at shutdown.
fn is_logged(metadata: &Metadata<'_>) -> bool {
    let drops = [
        "BatchSpanProcessor.SpanDroppingStarted",
        "BatchSpanProcessor.SpansDropped",
    ];
    !metadata.target().starts_with("opentelemetry") || drops.contains(&metadata.name())
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

    /// An exporter that blocks until the other end of its channel is dropped.
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
    fn of_the_events_of_opentelemetry_only_dropped_spans_are_logged_and_once() {
        let (release, stuck) = mpsc::channel();
        let config = BatchConfigBuilder::default().with_max_queue_size(1).build();
        let processor = BatchSpanProcessor::builder(Stuck(Mutex::new(stuck)))
            .with_batch_config(config)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .build();
        let log = Log::default();
        let writer = log.clone();
        let subscriber = fmt().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber.with(filter_fn(is_logged)), || {
            tracing::warn!(target: "opentelemetry_sdk", "noise");
            let tracer = provider.tracer("test");
            // At most one span is being exported and one is queued; the rest are dropped.
            for _ in 0..10 {
                drop(tracer.start("span"));
            }
        });
        drop(release);
        provider.shutdown().unwrap();
        let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(logged.contains("dropped a Span"), "{logged}");
        assert_eq!(logged.lines().count(), 1, "{logged}");
    }
}
