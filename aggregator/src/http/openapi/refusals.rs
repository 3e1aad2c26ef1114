//! The error responses of operations. Examples and headers are taken from the problems that the service responds with.

use std::collections::BTreeMap;

use axum::{http::header, response::IntoResponse};
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{
        Content, Header, Object, Ref, RefOr, Response, Type, example::ExampleBuilder,
        header::HeaderBuilder,
    },
};

use crate::http::edge::problem::Problem;

/// A request id as the service generates them.
const REQUEST_ID: &str = "711a0c1a438f30044d1e3a8084ce60b2";

/// Defines types that represent responses.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $refusals:expr;)+) => {$(
        $(#[$doc])*
        pub enum $name {}

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::Response>,
            > {
                $refusals.responses()
            }
        }
    )+};
}
pub(in crate::http) use refusals;

/// Error responses by status.
#[derive(Default)]
pub struct Refusals(BTreeMap<u16, Response>);

/// Error responses with problem documents.
pub fn problems(problems: impl IntoIterator<Item = Problem>) -> Refusals {
    Refusals::default().problems(problems)
}

impl Refusals {
    /// Adds problem documents.
    #[must_use]
    pub fn problems(mut self, problems: impl IntoIterator<Item = Problem>) -> Self {
        for problem in problems {
            let body = as_json(problem.clone().of_request(REQUEST_ID));
            let content = reference::<Problem>();
            self.add(problem, "application/problem+json", content, Some(body));
        }
        self
    }

    /// Adds a problem, with its body as an example.
    pub fn add(
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
            } else if *name == header::WWW_AUTHENTICATE {
                challenge()
            } else if *name == header::UPGRADE {
                upgrade()
            } else {
                continue;
            };
            response.headers.insert(canonical(name.as_str()), header);
        }
        response
    }

    /// The responses for the document.
    pub fn responses(self) -> BTreeMap<String, RefOr<Response>> {
        let by_status = self.0.into_iter();
        by_status
            .map(|(status, response)| (status.to_string(), RefOr::T(response)))
            .collect()
    }
}

/// The schema of a type.
pub fn reference<T: ToSchema>() -> Ref {
    Ref::from_schema_name(T::name())
}

/// A body as an example.
pub fn as_json(body: impl serde::Serialize) -> Value {
    serde_json::to_value(body).expect("its keys are strings")
}

fn retry_after() -> Header {
    HeaderBuilder::new()
        .schema(Object::with_type(Type::Integer))
        .description(Some("Seconds after which to try again."))
        .build()
}

fn accept_encoding() -> Header {
    HeaderBuilder::new()
        .schema(Object::with_type(Type::String))
        .description(Some(
            "The supported codings; only sent for an unknown Content-Encoding.",
        ))
        .build()
}

fn challenge() -> Header {
    HeaderBuilder::new()
        .schema(Object::with_type(Type::String))
        .description(Some("How a token can be sent."))
        .build()
}

fn upgrade() -> Header {
    HeaderBuilder::new()
        .schema(Object::with_type(Type::String))
        .description(Some("The version of HTTP that is required."))
        .build()
}

/// A header's name in its usual case.
fn canonical(name: &str) -> String {
    if name == header::WWW_AUTHENTICATE {
        return "WWW-Authenticate".to_owned();
    }
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}
