//! `GET /openapi.json`: the API as OpenAPI 3.1.
//!
//! Each handler declares its path and the types of its parameters, body and responses, which are defined next to it. The
//! schemas of responses are derived from the types that are serialized; bodies that are parsed by hand have a hand-written
//! schema with the limits that are checked. Routes and document are built from one list, so every operation is in the document; the
//! pages, their files and the document itself are routes without an operation. The modules below build the parts.

pub mod parameters;
pub mod refusals;
pub mod schemas;
mod security;

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::{Map, Value};
use utoipa::{
    IntoResponses, PartialSchema, ToSchema,
    openapi::{
        Content, Header, InfoBuilder, LicenseBuilder, Object, OpenApi, PathItem, Ref, RefOr,
        Required, Schema, ServerBuilder, Type,
        example::ExampleBuilder,
        header::HeaderBuilder,
        path::{Operation, ParameterBuilder, ParameterIn},
        response::{Response as Answer, ResponseBuilder},
        tag::TagBuilder,
    },
};

use super::{
    counts,
    edge::{
        guard::{HostRefusals, OriginRefusals},
        problem::Problem,
    },
    events,
    publish::{self, otlp::answer::Status},
    review,
};

/// Example requests and responses of all routes. The tests send and compare them.
///
/// # Panics
/// If one is not JSON, which the tests rule out.
pub fn examples() -> Value {
    let of = [
        publish::EXAMPLES,
        events::EXAMPLES,
        counts::EXAMPLES,
        review::EXAMPLES,
    ];
    let of = of.map(serde_json::from_str::<Map<String, Value>>);
    let all = of
        .into_iter()
        .flat_map(|examples| examples.expect("the tests check that it is JSON"));
    Value::Object(all.collect())
}

const ABOUT: &str = "Receives events at least once, stores each exactly once, and counts every arrival as stored, as a \
duplicate or as rejected.\n\nErrors are problem documents (RFC 9457). In addition to the responses listed here, an \
unknown path is answered with 404, an unsupported method with 405 and the header Allow, HEAD like GET without the body, \
and OPTIONS with 204 and Allow. An HTTP/1.1 request without exactly one valid Host is refused with 400, and a \
Transfer-Encoding other than chunked with 501. A request head of more than 32 KiB or 100 header fields is refused with \
431. If the service has a tokens file, \
a request needs a token with the scope that its operation names; otherwise everybody may do everything. Repeated slashes in a path and a trailing slash are ignored. While the service opens its store, GET /livez is \
answered with 200, and every other operation with 503 and Retry-After: /health with the status starting and the \
progress, /readyz with the progress as text, and all others with a problem document of the type \
urn:problem:starting.\n\nEvery response has the headers X-Request-Id and, for browsers, \
Content-Security-Policy, Cross-Origin-Resource-Policy, Referrer-Policy, X-Content-Type-Options and X-Frame-Options, \
except the one to a request head that is too large or cannot be parsed. A valid X-Request-Id of the request is \
returned; otherwise one is generated. A valid id has 1 to 128 letters, digits and the characters -_.: only. A W3C \
traceparent (and tracestate) is propagated to the COMMIT.";

/// The groups of operations, in their order.
const TAGS: [(&str, &str); 5] = [
    (
        "publish",
        "Publish events: nothing is published unless every event is valid.",
    ),
    ("events", "Stored events and their duplicates."),
    ("counts", "Counts, health and metrics."),
    (
        "kept",
        "What needs an operator's attention: rejected arrivals, conflicts, and what the stream lost.",
    ),
    ("service", "The service itself."),
];

/// The document as it is served.
#[derive(Debug, Clone)]
pub struct Document(Bytes);

impl Document {
    /// The document of these routes.
    pub fn of(mut api: OpenApi) -> Self {
        api.info = InfoBuilder::new()
            .title("Event aggregator")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(ABOUT))
            .license(Some(
                LicenseBuilder::new()
                    .name("MIT")
                    .identifier(Some("MIT"))
                    .build(),
            ))
            .build();
        // Relative to the document, so that it is right below a path of a proxy too.
        api.servers = Some(vec![ServerBuilder::new().url(".").build()]);
        let tag = |(name, about)| {
            TagBuilder::new()
                .name(name)
                .description(Some(about))
                .build()
        };
        api.tags = Some(TAGS.map(tag).into());
        let components = api.components.get_or_insert_default();
        security::add_schemes(components);
        components.schemas.extend(schemas::<Problem>());
        components.schemas.extend(schemas::<Status>());
        let mut everywhere = BTreeMap::from([
            ("UnknownPath".to_owned(), anywhere(StatusCode::NOT_FOUND)),
            (
                "UnknownMethod".to_owned(),
                anywhere(StatusCode::METHOD_NOT_ALLOWED),
            ),
        ]);
        for response in everywhere.values_mut() {
            response.headers.insert(REQUEST_ID.to_owned(), request_id());
        }
        let everywhere = everywhere.into_iter();
        components
            .responses
            .extend(everywhere.map(|(name, response)| (name, RefOr::T(response))));
        let examples = examples();
        for (path, item) in &mut api.paths.paths {
            for (method, operation) in operations(item) {
                finish(method, path, operation, &examples);
            }
        }
        let json = api.to_json().expect("its keys are strings");
        Self(json.into())
    }
}

/// Returns this document.
pub async fn show(State(Document(json)): State<Document>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], json).into_response()
}

const REQUEST_ID: &str = "X-Request-Id";

/// Headers that every request may carry. A request is never refused because of their values.
const HEADERS: [(&str, &str); 3] = [
    (
        REQUEST_ID,
        "The id of the request in the log: 1 to 128 letters, digits, -, _, . and :. Any other value is replaced by a generated id.",
    ),
    (
        "traceparent",
        "The trace that the request is part of (W3C Trace Context); it is propagated to the COMMIT.",
    ),
    (
        "tracestate",
        "Vendor-specific trace data (W3C Trace Context).",
    ),
];

fn request_id() -> Header {
    HeaderBuilder::new()
        .schema(Object::with_type(Type::String))
        .description(Some("The id of the request in the log."))
        .build()
}

/// A type's schema, and the schemas that it refers to.
fn schemas<T: ToSchema + PartialSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut all = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut all);
    all
}

/// A response that no operation declares: to an unknown path or method.
fn anywhere(status: StatusCode) -> Answer {
    let schema = Ref::from_schema_name(Problem::name());
    let response = ResponseBuilder::new()
        .description(status.canonical_reason().unwrap_or_default())
        .content("application/problem+json", Content::new(Some(schema)));
    if status != StatusCode::METHOD_NOT_ALLOWED {
        return response.build();
    }
    let allow = HeaderBuilder::new()
        .schema(Object::with_type(Type::String))
        .description(Some("The methods that the path supports."));
    response.header("Allow", allow.build()).build()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("GET", &mut item.get),
        ("POST", &mut item.post),
        ("OPTIONS", &mut item.options),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Adds what all operations have in common, and the examples.
fn finish(method: &str, path: &str, operation: &mut Operation, examples: &Value) {
    let words = path
        .split(['/', '{', '}', '.'])
        .filter(|word| !word.is_empty());
    let id: Vec<_> = std::iter::once(method.to_lowercase())
        .chain(words.map(str::to_owned))
        .collect();
    operation.operation_id = Some(id.join("_"));
    // Summaries are plain text, in which code is not set apart.
    if let Some(summary) = &mut operation.summary {
        summary.retain(|letter| letter != '`');
    }
    let parameters = operation.parameters.get_or_insert_default();
    parameters.extend(HEADERS.map(|(name, about)| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .description(Some(about))
            .schema(Some(Object::with_type(Type::String)))
            .build()
    }));
    let examples = &examples[format!("{method} {path}")];
    if let Some(body) = &mut operation.request_body {
        if review::MAY_BE_EMPTY.contains(&path) {
            body.required = Some(Required::False);
        }
        add_examples(&mut body.content, &examples["request"]);
    }
    let responses = &mut operation.responses.responses;
    responses.extend(HostRefusals::responses());
    responses.extend(OriginRefusals::responses());
    security::secure(method, path, operation);
    let responses = &mut operation.responses.responses;
    for (status, response) in responses {
        let RefOr::T(response) = response else {
            continue;
        };
        response.headers.insert(REQUEST_ID.to_owned(), request_id());
        if response.description.is_empty() {
            let status = StatusCode::from_bytes(status.as_bytes()).ok();
            let reason = status.and_then(|status| status.canonical_reason());
            reason
                .unwrap_or_default()
                .clone_into(&mut response.description);
        }
        add_examples(&mut response.content, &examples[status.as_str()]);
    }
    // Sent by the connection, before any other check of the request.
    let too_large = ResponseBuilder::new().description(
        "The head of the request has more than 32 KiB or 100 header fields; there is no body",
    );
    let responses = &mut operation.responses.responses;
    responses.insert("431".to_owned(), RefOr::T(too_large.build()));
}

/// Adds examples by media type and name.
fn add_examples<'a>(
    content: impl IntoIterator<Item = (&'a String, &'a mut Content)>,
    examples: &Value,
) {
    for (media_type, content) in content {
        for (name, value) in examples[media_type].as_object().into_iter().flatten() {
            let example = ExampleBuilder::new().value(Some(value.clone())).build();
            content.examples.insert(name.clone(), RefOr::T(example));
        }
    }
}
