//! Traces: spans from a request or a message to its commit, connected by the W3C trace context in the headers of both.
//!
//! Components that make spans get a [`Tracer`]. A tracer that is off makes none, at the cost of checking an option. The trace
//! context of a sender is propagated in either case.

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

/// Makes spans, or none if it is off. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<SdkTracer>);

/// The kind of a span, as OpenTelemetry defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The handling of a request.
    Server,
    /// The sending of a message.
    Producer,
    /// The processing of a message.
    Consumer,
    /// Any other operation.
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
    /// A tracer that makes spans.
    pub(crate) fn on(tracer: SdkTracer) -> Self {
        Self(Some(tracer))
    }

    /// A tracer that makes no spans.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether the tracer makes spans.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Starts a span as a child of `parent`, or of a new trace without one. `name` is called only if the tracer is on.
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
        let context = parent.map_or_else(Context::new, TraceContext::as_context);
        Span {
            span: Some(tracer.build_with_context(builder, &context)),
            parent: parent.cloned(),
        }
    }
}

/// A span, which ends when it is dropped. Empty by default and if the tracer is off.
#[derive(Debug, Default)]
pub struct Span {
    span: Option<SdkSpan>,
    /// The parent context, whose `tracestate` is passed on to children.
    parent: Option<TraceContext>,
}

impl Span {
    /// The context for children of the span.
    #[must_use]
    pub fn context(&self) -> Option<TraceContext> {
        let context = self.span.as_ref()?.span_context();
        let state = self.parent.as_ref().map(|parent| &parent.0.state);
        context.is_valid().then(|| {
            TraceContext(Arc::new(Inner {
                span_context: context.clone(),
                state: state.cloned().unwrap_or_default(),
            }))
        })
    }

    /// Whether the span is recorded; if not, its attributes need not be computed.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.span.as_ref().is_some_and(SdkSpan::is_recording)
    }

    /// Sets an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.span {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// Links the span to another span, of the same trace or another one. The SDK keeps the first 128 links. The other's
    /// `tracestate` is omitted, because it would be repeated for each link.
    pub fn link(&mut self, other: &TraceContext) {
        if let Some(span) = &mut self.span {
            let other = SpanContext::new(
                other.0.span_context.trace_id(),
                other.0.span_context.span_id(),
                other.0.span_context.trace_flags(),
                other.0.span_context.is_remote(),
                TraceState::NONE,
            );
            span.add_link(other, Vec::new());
        }
    }

    /// Marks the operation as failed.
    pub fn fail(&mut self, reason: String) {
        if let Some(span) = &mut self.span {
            span.set_attribute(KeyValue::new("error.type", reason.clone()));
            span.set_status(Status::error(reason));
        }
    }
}

/// The trace context: identifies a span within a trace (<https://www.w3.org/TR/trace-context/>). Cheap to clone, because
/// each chunk of a request has it.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceContext(Arc<Inner>);

#[derive(Debug, PartialEq)]
struct Inner {
    span_context: SpanContext,
    /// Passed on as received; spans have the part that OpenTelemetry accepts.
    state: Arc<header::Tracestate>,
}

impl TraceContext {
    /// The header that names trace and span.
    pub const PARENT: &str = "traceparent";

    /// The header with data of tracing systems.
    pub const STATE: &str = "tracestate";

    /// Parses all values of the two headers, as W3C Trace Context, level 1, requires: a `traceparent` that is invalid or given
    /// more than once is discarded together with its `tracestate`, so that a new trace begins. A `tracestate` that is invalid
    /// or too large is discarded on its own.
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
        let span_context = SpanContext::new(parent.trace, parent.span, parent.flags, true, spans);
        let state = Arc::new(state);
        Some(Self(Arc::new(Inner {
            span_context,
            state,
        })))
    }

    /// The context of the current task, set by [`Self::around`].
    #[must_use]
    pub fn current() -> Option<Self> {
        Context::map_current(|current| current.get::<Self>().cloned())
    }

    /// Runs `work` with this context as the current one.
    pub fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        work.with_context(self.as_context())
    }

    /// The id of the trace.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.0.span_context.trace_id()
    }

    /// The headers that propagate the context, each with its value.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut parent = ParentInjector(Vec::new());
        TraceContextPropagator::new().inject_context(&self.as_context(), &mut parent);
        let ParentInjector(mut headers) = parent;
        let state = self.0.state.text();
        if !state.is_empty() {
            headers.push((Self::STATE, state.to_owned()));
        }
        headers
    }

    fn as_context(&self) -> Context {
        let context = Context::new().with_remote_span_context(self.0.span_context.clone());
        context.with_value(self.clone())
    }
}

/// Collects the `traceparent` header that OpenTelemetry writes.
struct ParentInjector(Vec<(&'static str, String)>);

impl Injector for ParentInjector {
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
    fn a_context_is_propagated_unchanged() {
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
    fn a_traceparent_given_more_than_once_is_discarded() {
        assert_eq!(parse(&[], &["a=1"]), None);
        assert_eq!(parse(&[PARENT, PARENT], &[]), None);
        assert_eq!(parse(&[PARENT, "noise"], &[]), None);
    }

    #[test]
    fn an_invalid_tracestate_is_discarded_and_its_traceparent_kept() {
        for wrong in ["foo=,bar=3", "foo", "a=1,a=2", "\u{e4}=1"] {
            let context = parse(&[PARENT], &[wrong]).unwrap();
            let expected = [(TraceContext::PARENT, PARENT.to_owned())];
            assert_eq!(context.headers(), expected, "{wrong}");
        }
    }

    #[test]
    fn a_link_has_no_tracestate() {
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let tracer = Tracer::on(opentelemetry::trace::TracerProvider::tracer(
            &provider, "test",
        ));
        let mut span = tracer.start(|| "test", Kind::Internal, None);
        span.link(&parse(&[PARENT], &["a=1"]).unwrap());
        let data = span.span.unwrap().exported_data().unwrap();
        let [link] = data.links.links.as_slice() else {
            panic!("{:?}", data.links)
        };
        assert_eq!(link.span_context.trace_state(), &TraceState::NONE);
    }

    #[tokio::test]
    async fn a_tracestate_that_opentelemetry_refuses_is_propagated_through_spans() {
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
    async fn a_context_is_current_only_within_its_work() {
        let context = parse(&[PARENT], &[]).unwrap();
        let seen = context.around(async { TraceContext::current() }).await;
        assert_eq!(seen.as_ref(), Some(&context));
        assert_eq!(TraceContext::current(), None);
    }

    #[test]
    fn a_tracer_that_is_off_makes_no_spans() {
        let span = Tracer::off().start(
            || -> &str { panic!("no name is needed") },
            Kind::Server,
            None,
        );
        assert_eq!(span.context(), None);
        assert!(!span.is_recording());
    }
}
