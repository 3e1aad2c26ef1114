//! Traces: spans from a request or a message to its commit, held together by the W3C trace context that travels in the
//! headers of both.
//!
//! A [`Tracer`] is handed to those who make spans. One that is off makes none, and costs a look at an option. A trace
//! context that a sender gave travels on all the same.

use std::{borrow::Cow, future::Future, sync::Arc};

use opentelemetry::{
    Context, KeyValue, Value,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{
        FutureExt, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceId,
        TraceState, Tracer as _,
    },
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{SdkTracer, Span as SdkSpan},
};

/// Makes spans, or none where it is off. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<SdkTracer>);

/// What a span is of, as OpenTelemetry tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request that is answered.
    Server,
    /// A message that is sent.
    Producer,
    /// A message that is worked on.
    Consumer,
    /// Something else.
    Internal,
}

impl Kind {
    fn of(self) -> SpanKind {
        match self {
            Self::Server => SpanKind::Server,
            Self::Producer => SpanKind::Producer,
            Self::Consumer => SpanKind::Consumer,
            Self::Internal => SpanKind::Internal,
        }
    }
}

impl Tracer {
    /// That of an exporter.
    pub(crate) fn on(tracer: SdkTracer) -> Self {
        Self(Some(tracer))
    }

    /// Makes no spans.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether it makes spans.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Starts a span under `parent`, or a trace of its own without one. Its name is asked for only where it is on.
    pub fn start<N: Into<Cow<'static, str>>>(
        &self,
        name: impl FnOnce() -> N,
        kind: Kind,
        parent: Option<&TraceContext>,
    ) -> Span {
        let Some(tracer) = &self.0 else {
            return Span(None);
        };
        let builder = SpanBuilder::from_name(name()).with_kind(kind.of());
        let around = parent.map_or_else(Context::new, TraceContext::as_context);
        Span(Some(tracer.build_with_context(builder, &around)))
    }
}

/// A span, until it is dropped; none where the tracer was off, and by default.
#[derive(Debug, Default)]
pub struct Span(Option<SdkSpan>);

impl Span {
    /// The context for what comes of it.
    #[must_use]
    pub fn context(&self) -> Option<TraceContext> {
        let context = self.0.as_ref()?.span_context();
        context.is_valid().then(|| TraceContext::of(context))
    }

    /// Whether it is kept: attributes of another one need not be made.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.0.as_ref().is_some_and(SdkSpan::is_recording)
    }

    /// Gives it an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// Links it to what has another trace, or another place in the same; the SDK keeps the first 128 links. The other's
    /// state is left out: a span would have each of them again.
    pub fn link(&mut self, other: &TraceContext) {
        if let Some(span) = &mut self.0 {
            let other = SpanContext::new(
                other.0.trace_id(),
                other.0.span_id(),
                other.0.trace_flags(),
                other.0.is_remote(),
                TraceState::NONE,
            );
            span.add_link(other, Vec::new());
        }
    }

    /// What it is of has failed.
    pub fn fail(&mut self, reason: String) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new("error.type", reason.clone()));
            span.set_status(Status::error(reason));
        }
    }
}

/// The place in a trace at which something happens (<https://www.w3.org/TR/trace-context/>). Cheap to clone: each piece of
/// a request has it.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceContext(Arc<SpanContext>);

/// Most bytes of a state that is carried on. W3C asks for at least so many, and each message has them again.
const MAX_STATE_BYTES: usize = 512;

impl TraceContext {
    /// The header that names trace and span.
    pub const PARENT: &str = "traceparent";

    /// The header with what tracing systems add.
    pub const STATE: &str = "tracestate";

    /// Reads the values of the two headers, the second of which may stand there more than once; none where they name no
    /// span. A state that is too large is left out.
    #[must_use]
    pub fn parse<'a>(parent: &str, states: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let state = joined(states);
        let headers = Headers {
            parent,
            state: state.as_deref(),
        };
        let read = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
        let span = read.span();
        let context = span.span_context();
        context.is_valid().then(|| Self::of(context))
    }

    fn of(context: &SpanContext) -> Self {
        Self(Arc::new(context.clone()))
    }

    /// That of what runs now within [`Self::around`].
    #[must_use]
    pub fn current() -> Option<Self> {
        Context::map_current(|current| {
            current
                .has_active_span()
                .then(|| Self::of(current.span().span_context()))
        })
    }

    /// What is done within `work` has this context.
    pub fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        work.with_context(self.as_context())
    }

    /// Names the trace.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.0.trace_id()
    }

    /// The headers that carry it on, each with its value.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Written(Vec::new());
        TraceContextPropagator::new().inject_context(&self.as_context(), &mut headers);
        headers.0
    }

    fn as_context(&self) -> Context {
        Context::new().with_remote_span_context((*self.0).clone())
    }
}

/// The lines of a state as one; none where there is none, or it is too large.
fn joined<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut joined = String::new();
    for line in lines.into_iter().filter(|line| !line.is_empty()) {
        if joined.len() + line.len() > MAX_STATE_BYTES {
            return None;
        }
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(line);
    }
    (1..=MAX_STATE_BYTES)
        .contains(&joined.len())
        .then_some(joined)
}

/// The values that were read.
struct Headers<'a> {
    parent: &'a str,
    state: Option<&'a str>,
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TraceContext::PARENT => Some(self.parent),
            TraceContext::STATE => self.state,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TraceContext::PARENT, TraceContext::STATE]
    }
}

/// The values to write, without those that are empty.
struct Written(Vec<(&'static str, String)>);

impl Injector for Written {
    fn set(&mut self, key: &str, value: String) {
        let known = [TraceContext::PARENT, TraceContext::STATE];
        if let Some(name) = known.into_iter().find(|known| *known == key)
            && !value.is_empty()
        {
            self.0.push((name, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_goes_on_as_it_came() {
        let state = "vendor=opaque,other=1";
        let context = TraceContext::parse(PARENT, Some(state)).unwrap();
        let expected = [
            (TraceContext::PARENT, PARENT.to_owned()),
            (TraceContext::STATE, state.to_owned()),
        ];
        assert_eq!(context.headers(), expected);
        let context = TraceContext::parse(PARENT, None).unwrap();
        assert_eq!(context.headers(), expected[..1]);
    }

    #[test]
    fn lines_of_a_state_are_one_and_a_large_state_is_left_out() {
        let state = |lines: &[&str]| {
            let context = TraceContext::parse(PARENT, lines.iter().copied()).unwrap();
            let headers = context.headers().into_iter();
            let mut state = headers.filter(|(name, _)| *name == TraceContext::STATE);
            state.next().map(|(_, value)| value)
        };
        assert_eq!(state(&["a=1", "", "b=2,c=3"]).unwrap(), "a=1,b=2,c=3");
        // A value has at most 256 bytes.
        let largest = format!("a={},b={}", "x".repeat(254), "x".repeat(253));
        assert_eq!(largest.len(), MAX_STATE_BYTES);
        assert_eq!(state(&[&*largest]).unwrap(), largest);
        let larger = format!("{largest}x");
        for lines in [&[&*larger][..], &["c=3", &largest], &["c=3", &larger]] {
            assert_eq!(state(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn a_link_has_no_state() {
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let tracer = Tracer::on(opentelemetry::trace::TracerProvider::tracer(
            &provider, "test",
        ));
        let mut span = tracer.start(|| "test", Kind::Internal, None);
        span.link(&TraceContext::parse(PARENT, ["a=1"]).unwrap());
        let told = span.0.unwrap().exported_data().unwrap();
        let [link] = told.links.links.as_slice() else {
            panic!("{:?}", told.links)
        };
        assert_eq!(link.span_context.trace_state(), &TraceState::NONE);
    }

    #[test]
    fn what_names_no_span_is_no_context() {
        for wrong in [
            "",
            "00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(wrong, None), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_context_is_current_within_its_work_and_nowhere_else() {
        let context = TraceContext::parse(PARENT, None).unwrap();
        let seen = context.around(async { TraceContext::current() }).await;
        assert_eq!(seen.as_ref(), Some(&context));
        assert_eq!(TraceContext::current(), None);
    }

    #[test]
    fn a_tracer_that_is_off_makes_nothing() {
        let span = Tracer::off().start(
            || -> &str { panic!("no name is needed") },
            Kind::Server,
            None,
        );
        assert_eq!(span.context(), None);
        assert!(!span.is_recording());
    }
}
