//! What each operation is refused with. The examples are what the functions make that make the answers, and headers are
//! told where these have them.

use std::collections::BTreeMap;

use axum::{http::header, response::IntoResponse};
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::Value;
use shared::event::Event;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{
        Content, Header, Object, Ref, RefOr, Response, Type, example::ExampleBuilder,
        header::HeaderBuilder,
    },
};

use super::otlp::Message;
use crate::http::{
    edge::{
        body::{BODY_TIMEOUT, MAX_BODY_BYTES},
        paging::{self, MAX_LIMIT},
        problem::{Cannot, ItemErrors, Problem},
        query::Query,
    },
    publish::otlp::{self, answer},
};

/// As the service makes them.
const REQUEST_ID: &str = "711a0c1a438f30044d1e3a8084ce60b2";

/// Types that stand for answers.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $refusals:expr;)+) => {$(
        $(#[$doc])*
        pub enum $name {}

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                $refusals.responses()
            }
        }
    )+};
}

refusals! {
    /// Of a question that the store answers, a page at a time.
    Asked = problems([unknown_parameter(&["limit", "cursor"]), wrong_limit(), paging::wrong_cursor(), Problem::store_unreadable()]);

    /// Of events, which come in pages or without an end that is known.
    AskedOrStreamed = problems([unknown_parameter(&["limit", "cursor"]), wrong_limit(), paging::wrong_cursor(), Problem::store_unreadable(), Problem::needs_http_1_1()]);

    /// Of one whose answer is a single page.
    AskedOnce = problems([unknown_parameter(&["topic", "limit"]), wrong_limit(), Problem::store_unreadable()]);

    /// Of one without parameters.
    AskedAll = problems([unknown_parameter(&[]), Problem::store_unreadable()]);

    /// Of what has no parameters, and is answered whatever fails.
    Unasked = problems([unknown_parameter(&[])]);

    /// Of `GET /event`.
    Finding = problems([
        Problem::not_found("topic readme has no event 7 stored".to_owned()),
        unknown_parameter(&["topic", "event_id"]),
        Problem::store_unreadable(),
        Problem::index_away(),
    ]);

    /// Of `GET /events/tail`.
    Tailing = problems([
        unknown_parameter(&["topic", "latest"]),
        Problem::unavailable(Cannot::Follow),
    ]);

    /// Of `POST /publish`.
    Publishing = publishing().problems([Problem::not_events_type()]);

    /// Of `POST /cloudevents`.
    CloudEventing = publishing().problems([Problem::not_cloudevents_type()]);

    /// Of `POST /rejected/{id}/requeue`.
    Requeueing = problems(of_a_body())
        .problems(on_the_way())
        .problems([
            Problem::not_found("there is no rejected arrival 7 any more".to_owned()),
            Problem::not_json_type(),
            not_json(),
            invalid_events(),
            Problem::store_unreadable(),
        ]);

    /// Of `POST /missing/acknowledge`.
    Noting = problems([Problem::not_json_type(), Problem::store_unwritable()]);

    /// Of `POST /v1/logs`.
    Exporting = Refusals::default()
        .otlp(of_a_body())
        .otlp(on_the_way())
        .otlp([Problem::undecodable("ExportLogsServiceRequest in JSON is an object".to_owned()), not_json()])
        .problems([Problem::not_otlp_type()]);

    /// Of what else OTLP has.
    OtherSignal = problems([otlp::not_logs("/v1/traces")]).otlp([otlp::not_logs("/v1/traces")]);

    /// Of whatever is asked by a name that is not configured.
    Anywhere = problems([Problem::unknown_host("evil.example")]);

    /// Of whatever a page of another site asks.
    Foreign = problems([
        Problem::foreign_origin("http://evil.example", "127.0.0.1:8080"),
        Problem::foreign_page(),
    ]);

    /// Of a file that is not there.
    NoFile = problems([Problem::not_found("there is nothing at /docs/nothing".to_owned())]);
}

/// Of events in a body, however they are told there.
fn publishing() -> Refusals {
    problems(of_a_body()).problems(on_the_way()).problems([
        not_json(),
        invalid_events(),
        wrong_wait(),
        Problem::conflict(7),
        Problem::rejected(),
        Problem::unavailable(Cannot::Wait),
    ])
}

/// Of reading a body.
fn of_a_body() -> [Problem; 6] {
    let corrupt = std::io::Error::other("invalid gzip header");
    [
        Problem::body_incomplete(),
        Problem::body_corrupt(&corrupt),
        Problem::body_too_slow(BODY_TIMEOUT),
        Problem::body_too_large(MAX_BODY_BYTES),
        Problem::unknown_coding(),
        Problem::unavailable(Cannot::Hold),
    ]
}

/// Of bringing events onto the stream.
fn on_the_way() -> [Problem; 4] {
    [Cannot::Reach, Cannot::Take, Cannot::Confirm, Cannot::Agree].map(Problem::unavailable)
}

fn not_json() -> Problem {
    let parsed = serde_json::from_str::<IgnoredAny>("[\n{]");
    Problem::not_json(&parsed.expect_err("its braces are not closed"))
}

fn invalid_events() -> Problem {
    let event = Bytes::from_static(
        br#"{"topic":"readme","event_id":"3","timestamp":"yesterday","source":"curl","payload":{},"level":"info"}"#,
    );
    let mut errors = ItemErrors::default();
    errors.add(Some(0), Event::parse(&event).expect_err("its time is none"));
    Problem::invalid_events(errors)
}

fn unknown_parameter(known: &[&str]) -> Problem {
    Query::parse(Some("topics=readme"), known).expect_err("it is not known")
}

fn wrong_limit() -> Problem {
    let query = Query::parse(Some("limit=0"), &["limit"]);
    let limit = query.and_then(|query| query.limit(1, MAX_LIMIT));
    limit.expect_err("it is too small")
}

fn wrong_wait() -> Problem {
    crate::http::publish::waiting::parse(Some("wait=applied")).expect_err("it is not known")
}

/// Answers by status.
#[derive(Default)]
struct Refusals(BTreeMap<u16, Response>);

fn problems(problems: impl IntoIterator<Item = Problem>) -> Refusals {
    Refusals::default().problems(problems)
}

impl Refusals {
    /// Adds problem documents.
    fn problems(mut self, problems: impl IntoIterator<Item = Problem>) -> Self {
        for problem in problems {
            let body = as_json(problem.clone().of_request(REQUEST_ID));
            let content = reference::<Problem>();
            self.add(problem, "application/problem+json", content, Some(body));
        }
        self
    }

    /// Adds what OTLP has in their place, in both of its encodings.
    fn otlp(mut self, problems: impl IntoIterator<Item = Problem>) -> Self {
        for problem in problems {
            let body = as_json(answer::status(&problem));
            let content = reference::<answer::Status>();
            let response = self.add(problem, "application/json", content, Some(body));
            let content = Content::new(Some(reference::<Message>()));
            let protobuf = "application/x-protobuf".to_owned();
            response.content.entry(protobuf).or_insert(content);
        }
        self
    }

    fn add(
        &mut self,
        problem: Problem,
        media_type: &str,
        schema: Ref,
        example: Option<Value>,
    ) -> &mut Response {
        let (kind, title) = (problem.kind(), problem.title());
        let status = problem.status().as_u16();
        let response = self.0.entry(status).or_default();
        if response.description.is_empty() {
            title.clone_into(&mut response.description);
        } else if !response.description.contains(title) {
            response.description += "; ";
            response.description += title;
        }
        let content = response.content.entry(media_type.to_owned());
        let content = content.or_insert_with(|| Content::new(Some(schema)));
        let kind = kind.rsplit(':').next().unwrap_or(kind);
        let mut name = kind.to_owned();
        let mut of_the_kind = 1;
        while content.examples.contains_key(&name) {
            of_the_kind += 1;
            name = format!("{kind}-{of_the_kind}");
        }
        let example = ExampleBuilder::new().value(example);
        content.examples.insert(name, RefOr::T(example.build()));
        for name in problem.into_response().headers().keys() {
            let header = if *name == header::RETRY_AFTER {
                retry_after()
            } else if *name == header::ACCEPT_ENCODING {
                accept_encoding()
            } else if *name == header::UPGRADE {
                upgrade()
            } else {
                continue;
            };
            response.headers.insert(canonical(name.as_str()), header);
        }
        response
    }

    fn responses(self) -> BTreeMap<String, RefOr<Response>> {
        let by_status = self.0.into_iter();
        by_status
            .map(|(status, response)| (status.to_string(), RefOr::T(response)))
            .collect()
    }
}

fn reference<T: ToSchema>() -> Ref {
    Ref::from_schema_name(T::name())
}

fn as_json(body: impl serde::Serialize) -> Value {
    serde_json::to_value(body).expect("its keys are texts")
}

fn retry_after() -> Header {
    HeaderBuilder::new()
        .schema(Object::with_type(Type::Integer))
        .description(Some("In so many seconds it can be tried again."))
        .build()
}

fn accept_encoding() -> Header {
    HeaderBuilder::new()
        .schema(Object::with_type(Type::String))
        .description(Some(
            "How a body may be packed; with an unknown Content-Encoding only.",
        ))
        .build()
}

fn upgrade() -> Header {
    HeaderBuilder::new()
        .schema(Object::with_type(Type::String))
        .description(Some("The version of HTTP that is needed."))
        .build()
}

/// A header's name as it is written for people.
fn canonical(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}
