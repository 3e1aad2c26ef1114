//! The tokens that operations need, and how the service refuses requests without a valid one.

use std::time::Duration;

use axum::http::Method;
use utoipa::openapi::{
    Components, RefOr,
    path::Operation,
    security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
};

use super::refusals::{Refusals, problems};
use crate::http::edge::{
    access::scopes::{self, Needs, Route},
    problem::Problem,
};

/// The schemes: a token is sent as a bearer token, or as a password, or there is a client certificate instead.
const SCHEMES: [&str; 3] = ["bearer", "basic", "certificate"];

const CERTIFICATE: &str = "A client certificate, if the service speaks HTTPS and trusts the certificate's authority \
(`--tls-client-ca`). It gives the access of the entry in the tokens file that has its subject. A token that is sent takes precedence.";

/// Defines the schemes.
pub fn add_schemes(components: &mut Components) {
    for (name, scheme, about) in [
        (SCHEMES[0], HttpAuthScheme::Bearer, "A token."),
        (
            SCHEMES[1],
            HttpAuthScheme::Basic,
            "Any user name, and a token as the password.",
        ),
    ] {
        let mut scheme = Http::new(scheme);
        scheme.description = Some(about.to_owned());
        components.add_security_scheme(name, SecurityScheme::Http(scheme));
    }
    let certificate = SecurityScheme::MutualTls {
        description: Some(CERTIFICATE.to_owned()),
        extensions: None,
    };
    components.add_security_scheme(SCHEMES[2], certificate);
}

/// Adds what an operation needs, and the responses to requests that lack it.
pub fn secure(method: &str, path: &str, operation: &mut Operation) {
    let method: Method = method.parse().expect("it is the name of a method");
    let Route::Needs(needs) = scopes::of(&method, path) else {
        return;
    };
    if needs == Needs::Nothing {
        operation.security = Some(Vec::new());
        return;
    }
    let either = SCHEMES.map(|name| SecurityRequirement::new(name, Vec::<String>::new()));
    // An empty requirement is met by any request.
    let none = (needs == Needs::Optional).then(SecurityRequirement::default);
    operation.security = Some(none.into_iter().chain(either).collect());
    let about = format!("Scope: {}.", scope(needs));
    match &mut operation.description {
        Some(description) => {
            description.push_str("\n\n");
            description.push_str(&about);
        }
        none => *none = Some(about),
    }
    for (status, response) in refusals(needs, path).responses() {
        let RefOr::T(refused) = response else {
            continue;
        };
        let known = operation.responses.responses.entry(status);
        let known = known.or_insert_with(|| RefOr::T(refused.clone()));
        let RefOr::T(known) = known else {
            continue;
        };
        if !known.description.contains(&refused.description) {
            known.description = format!("{}; {}", known.description, refused.description);
        }
        for (kind, content) in refused.content {
            let known = known.content.entry(kind);
            let known = known.or_insert_with(|| content.clone());
            known.examples.extend(content.examples);
        }
        known.headers.extend(refused.headers);
    }
}

fn scope(needs: Needs) -> &'static str {
    match needs {
        Needs::Nothing => "none",
        Needs::Optional => "none for the status, any token for the rest",
        Needs::Publish => "`publish` for the topic of each event",
        Needs::Read => "`read`; what is of other topics is left out",
        Needs::ReadAll => "`read` for every topic, or `admin`",
        Needs::Admin => "`admin`",
    }
}

fn refusals(needs: Needs, path: &str) -> Refusals {
    let mut all = vec![
        Problem::no_token(),
        Problem::too_many_failures(Duration::from_secs(60)),
    ];
    match needs {
        Needs::Nothing | Needs::Optional => {}
        Needs::Publish => all.extend([
            Problem::lacks_topic("publish", "readme"),
            Problem::rate_exceeded(5_000, Duration::from_secs(1)),
        ]),
        Needs::Read => all.push(Problem::lacks_topic("read", "readme")),
        Needs::ReadAll => all.push(Problem::lacks(
            "read for every topic (read = [\"*\"]), or admin",
        )),
        Needs::Admin => all.push(Problem::lacks("admin")),
    }
    if path == "/v1/logs" {
        return Refusals::default().otlp(all.clone()).problems(all);
    }
    problems(all)
}
