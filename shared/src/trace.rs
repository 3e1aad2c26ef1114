//! Traces: spans from a request or a message to its commit, held together by the W3C trace context that travels in the
//! headers of both.
//!
//! A [`Tracer`] is handed to those who make spans. One that is off makes none, and costs a look at an option. A trace
//! context that a sender gave travels on all the same.

mod header;

use std::{borrow::Cow, future::Future, sync::Arc};

use opentelemetry::{
    Context, KeyValue, Value,
    propagation::{Injector, TextMapPropagator},
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
            return Span::default();
        };
        let builder = SpanBuilder::from_name(name()).with_kind(kind.of());
        let around = parent.map_or_else(Context::new, TraceContext::as_context);
        Span {
            span: Some(tracer.build_with_context(builder, &around)),
            around: parent.cloned(),
        }
    }
}

/// A span, until it is dropped; none where the tracer was off, and by default.
#[derive(Debug, Default)]
pub struct Span {
    span: Option<SdkSpan>,
    /// What it was started under, whose state goes on with what comes of it.
    around: Option<TraceContext>,
}

impl Span {
    /// The context for what comes of it.
    #[must_use]
    pub fn context(&self) -> Option<TraceContext> {
        let context = self.span.as_ref()?.span_context();
        let around = self.around.as_ref().map(|around| &around.0.state);
        context.is_valid().then(|| {
            TraceContext(Arc::new(Carried {
                place: context.clone(),
                state: around.cloned().unwrap_or_default(),
            }))
        })
    }

    /// Whether it is kept: attributes of another one need not be made.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.span.as_ref().is_some_and(SdkSpan::is_recording)
    }

    /// Gives it an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.span {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// Links it to what has another trace, or another place in the same; the SDK keeps the first 128 links. The other's
    /// state is left out: a span would have each of them again.
    pub fn link(&mut self, other: &TraceContext) {
        if let Some(span) = &mut self.span {
            let other = SpanContext::new(
                other.0.place.trace_id(),
                other.0.place.span_id(),
                other.0.place.trace_flags(),
                other.0.place.is_remote(),
                TraceState::NONE,
            );
            span.add_link(other, Vec::new());
        }
    }

    /// What it is of has failed.
    pub fn fail(&mut self, reason: String) {
        if let Some(span) = &mut self.span {
            span.set_attribute(KeyValue::new("error.type", reason.clone()));
            span.set_status(Status::error(reason));
        }
    }
}

/// The place in a trace at which something happens (<https://www.w3.org/TR/trace-context/>). Cheap to clone: each piece of
/// a request has it.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceContext(Arc<Carried>);

#[derive(Debug, PartialEq)]
struct Carried {
    place: SpanContext,
    /// It goes on as it came; spans have what OpenTelemetry takes of it.
    state: Arc<header::State>,
}

impl TraceContext {
    /// The header that names trace and span.
    pub const PARENT: &str = "traceparent";

    /// The header with what tracing systems add.
    pub const STATE: &str = "tracestate";

    /// Reads all values of the two headers, as W3C Trace Context, level 1, wants it: a `traceparent` that is not valid, or
    /// is given more than once, is discarded with its state, so that a new trace begins. A `tracestate` that is not valid,
    /// or is too large, is discarded alone.
    #[must_use]
    pub fn parse<'a>(
        parents: impl IntoIterator<Item = &'a [u8]>,
        states: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let mut parents = parents.into_iter();
        let (Some(parent), None) = (parents.next(), parents.next()) else {
            return None;
        };
        let parent = header::parent(parent)?;
        let state = header::state(states).unwrap_or_default();
        let spans = state.of_spans();
        let place = SpanContext::new(parent.trace, parent.span, parent.flags, true, spans);
        let state = Arc::new(state);
        Some(Self(Arc::new(Carried { place, state })))
    }

    /// That of what runs now within [`Self::around`].
    #[must_use]
    pub fn current() -> Option<Self> {
        Context::map_current(|current| current.get::<Self>().cloned())
    }

    /// What is done within `work` has this context.
    pub fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        work.with_context(self.as_context())
    }

    /// Names the trace.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.0.place.trace_id()
    }

    /// The headers that carry it on, each with its value.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut parent = Parent(Vec::new());
        TraceContextPropagator::new().inject_context(&self.as_context(), &mut parent);
        let Parent(mut headers) = parent;
        let state = self.0.state.text();
        if !state.is_empty() {
            headers.push((Self::STATE, state.to_owned()));
        }
        headers
    }

    fn as_context(&self) -> Context {
        let context = Context::new().with_remote_span_context(self.0.place.clone());
        context.with_value(self.clone())
    }
}

/// Takes the header that names trace and span, as OpenTelemetry writes it.
struct Parent(Vec<(&'static str, String)>);

impl Injector for Parent {
    fn set(&mut self, key: &str, value: String) {
        if key == TraceContext::PARENT {
            self.0.push((TraceContext::PARENT, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parse(parents: &[&str], states: &[&str]) -> Option<TraceContext> {
        TraceContext::parse(
            parents.iter().map(|text| text.as_bytes()),
            states.iter().map(|text| text.as_bytes()),
        )
    }

    #[test]
    fn a_context_goes_on_as_it_came() {
        let state = "vendor=opaque,other=1";
        let context = parse(&[PARENT], &[state]).unwrap();
        let expected = [
            (TraceContext::PARENT, PARENT.to_owned()),
            (TraceContext::STATE, state.to_owned()),
        ];
        assert_eq!(context.headers(), expected);
        let context = parse(&[PARENT], &[]).unwrap();
        assert_eq!(context.headers(), expected[..1]);
    }

    #[test]
    fn a_traceparent_that_is_given_more_than_once_is_no_context() {
        assert_eq!(parse(&[], &["a=1"]), None);
        assert_eq!(parse(&[PARENT, PARENT], &[]), None);
        assert_eq!(parse(&[PARENT, "noise"], &[]), None);
    }

    #[test]
    fn a_tracestate_that_is_not_valid_is_discarded_and_its_traceparent_kept() {
        for wrong in ["foo=,bar=3", "foo", "a=1,a=2", "\u{e4}=1"] {
            let context = parse(&[PARENT], &[wrong]).unwrap();
            let expected = [(TraceContext::PARENT, PARENT.to_owned())];
            assert_eq!(context.headers(), expected, "{wrong}");
        }
    }

    #[test]
    fn a_link_has_no_state() {
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let tracer = Tracer::on(opentelemetry::trace::TracerProvider::tracer(
            &provider, "test",
        ));
        let mut span = tracer.start(|| "test", Kind::Internal, None);
        span.link(&parse(&[PARENT], &["a=1"]).unwrap());
        let told = span.span.unwrap().exported_data().unwrap();
        let [link] = told.links.links.as_slice() else {
            panic!("{:?}", told.links)
        };
        assert_eq!(link.span_context.trace_state(), &TraceState::NONE);
    }

    #[tokio::test]
    async fn a_state_that_opentelemetry_refuses_goes_on_through_spans_as_it_came() {
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let tracer = opentelemetry::trace::TracerProvider::tracer(&provider, "test");
        let longest = format!("{}@{}=1,other=2", "t".repeat(241), "v".repeat(14));
        for state in ["a=1,b=2", &longest] {
            let given = parse(&[PARENT], &[state]).unwrap();
            let within = given.around(async { TraceContext::current() }).await;
            let span = Tracer::on(tracer.clone()).start(|| "test", Kind::Server, Some(&given));
            for context in [within.unwrap(), span.context().unwrap()] {
                assert_eq!(context.trace_id(), given.trace_id());
                let header = (TraceContext::STATE, state.to_owned());
                assert_eq!(context.headers().get(1), Some(&header));
            }
        }
    }

    #[tokio::test]
    async fn a_context_is_current_within_its_work_and_nowhere_else() {
        let context = parse(&[PARENT], &[]).unwrap();
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
