//! Authentication, and the scope that each route needs: every request passes here before its handler.

mod caller;
pub mod credentials;
pub mod failures;
pub mod scopes;
pub mod sessions;

use std::{net::IpAddr, sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderValue, Method, header},
    response::{IntoResponse, Response},
};
use tracing::Span;

pub use self::caller::{Caller, MaybeCaller};
use self::{
    caller::Way,
    credentials::{Credentials, credentials},
    failures::Failures,
    scopes::{Needs, Route},
    sessions::Sessions,
};
use super::problem::Problem;
use crate::{
    access::{Access, Certificate, Grant, Refused},
    clock,
    http::publish::otlp,
    metrics::Metrics,
};

/// The address of the client, which the server adds to its requests.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// What the server adds to the requests of an encrypted connection.
#[derive(Debug, Clone)]
pub struct Encrypted {
    /// The certificate of the client, if it has shown one.
    pub certificate: Option<Certificate>,
}

/// Who may use the service, and who failed to authenticate.
#[derive(Debug, Clone)]
pub struct Authenticator {
    /// The tokens.
    pub access: Access,
    /// Attempts with a token that is not valid.
    pub failures: Failures,
    /// Browsers that have signed in.
    pub sessions: Sessions,
}

impl Authenticator {
    /// An authenticator for these tokens.
    #[must_use]
    pub fn new(access: Access, metrics: Metrics) -> Self {
        Self {
            access,
            failures: Failures::new(metrics),
            sessions: Sessions::default(),
        }
    }

    /// Adds the [`Caller`] to a request that may pass.
    ///
    /// # Errors
    /// The response to any other request.
    pub fn admit(&self, mut request: Request) -> Result<Request, Box<Response>> {
        match self.caller(&request) {
            Ok(Some(caller)) => {
                if let Some(name) = &caller.grant.name {
                    Span::current().record("token.name", tracing::field::display(name));
                }
                request.extensions_mut().insert(caller);
                Ok(request)
            }
            Ok(None) => Ok(request),
            Err(refusal) => Err(Box::new(refused(*refusal, &request))),
        }
    }

    /// What the sender of a request may do; `None` if the route needs no token and there is none.
    fn caller(&self, request: &Request) -> Result<Option<Caller>, Box<Refusal>> {
        if let Some(everybody) = self.access.without_token() {
            return Ok(Some(self.of(Arc::clone(everybody), Way::Token)));
        }
        let path = request.extensions().get::<MatchedPath>();
        // Nothing is there, so there is nothing to protect.
        let Some(path) = path.map(MatchedPath::as_str) else {
            return Ok(None);
        };
        let route = scopes::of(request.method(), path);
        if matches!(route, Route::Needs(Needs::Nothing)) {
            return Ok(None);
        }
        let caller = self.known(request)?;
        match (route, caller) {
            (Route::Needs(Needs::Nothing | Needs::Optional), caller) => Ok(caller),
            (_, None) => Err(match certificate(request) {
                Some(certificate) => Problem::unknown_certificate(&certificate.subject).into(),
                None => Problem::no_token().into(),
            }),
            (Route::Needs(needs), Some(caller)) => {
                needs.check(&caller.grant)?;
                Ok(Some(caller))
            }
            (Route::OtherMethod(allowed), Some(_)) => {
                let (path, method) = (request.uri().path(), request.method());
                Err(Box::new(Refusal {
                    problem: Problem::method_not_allowed(format!(
                        "{path} does not support {method}"
                    )),
                    allowed: Some(allowed),
                }))
            }
            // A route that is not in the table: nobody has its scope.
            (Route::Unknown, Some(_)) => Err(Problem::lacks("a scope that no token has").into()),
        }
    }

    fn of(&self, grant: Arc<Grant>, way: Way) -> Caller {
        Caller::new(grant, self.access.clone(), way)
    }

    fn known(&self, request: &Request) -> Result<Option<Caller>, Problem> {
        let token = match credentials(request.headers()) {
            Credentials::None => {
                let caller = self.signed_in(request);
                return Ok(caller.or_else(|| self.certified(request)));
            }
            Credentials::Token(token) => token,
            Credentials::Invalid => return Err(self.failed(request, Problem::wrong_credentials())),
        };
        match self.access.grant(&token, clock::now_micros()) {
            Ok(grant) => Ok(Some(self.of(grant, Way::Token))),
            Err(Refused::Unknown) => Err(self.failed(request, Problem::wrong_token())),
            Err(Refused::Expired) => Err(self.failed(request, Problem::expired_token())),
        }
    }

    /// What the browser's session allows; a session whose token has ended is over.
    fn signed_in(&self, request: &Request) -> Option<Caller> {
        let id = sessions::id(request.headers(), request.extensions())?;
        let session = self.sessions.find(id, Instant::now())?;
        let grant = self.access.grant_of(&session.token, clock::now_micros());
        Some(self.of(grant.ok()?, Way::Session(session)))
    }

    /// What the client certificate of the connection allows. One that no entry names counts as none, since a browser or a proxy sends
    /// it without being asked.
    fn certified(&self, request: &Request) -> Option<Caller> {
        let certificate = certificate(request)?;
        let grant = self.access.grant_by(certificate, clock::now_micros());
        let way = Way::Certificate {
            expires: certificate.expires,
        };
        Some(self.of(grant.ok()?, way))
    }

    fn failed(&self, request: &Request, problem: Problem) -> Problem {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        match self.failures.count(peer, Instant::now()) {
            Some(pause) => Problem::too_many_failures(pause),
            None => problem,
        }
    }
}

fn certificate(request: &Request) -> Option<&Certificate> {
    let encrypted = request.extensions().get::<Encrypted>()?;
    encrypted.certificate.as_ref()
}

/// Why a request may not pass.
struct Refusal {
    problem: Problem,
    /// The methods of the path, if that of the request is not among them.
    allowed: Option<String>,
}

impl From<Problem> for Box<Refusal> {
    fn from(problem: Problem) -> Self {
        Self::new(Refusal {
            problem,
            allowed: None,
        })
    }
}

fn refused(refusal: Refusal, request: &Request) -> Response {
    let mut response = if request.uri().path() == "/v1/logs" {
        otlp::refused(request.headers(), refusal.problem)
    } else {
        refusal.problem.into_response()
    };
    let headers = response.headers_mut();
    if let Some(allowed) = refusal.allowed {
        let allowed = HeaderValue::try_from(allowed).expect("methods are tokens");
        headers.insert(header::ALLOW, allowed);
    }
    // A browser would ask for a name and a password in the middle of a page.
    let is_script = request
        .headers()
        .get("sec-fetch-mode")
        .is_some_and(|mode| mode != "navigate");
    if is_script && headers.contains_key(header::WWW_AUTHENTICATE) {
        headers.insert(header::WWW_AUTHENTICATE, BEARER);
    }
    response
}

/// The challenge of a request with 401.
pub const CHALLENGE: HeaderValue = HeaderValue::from_static(
    "Bearer realm=\"aggregator\", Basic realm=\"aggregator\", charset=\"UTF-8\"",
);

const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"aggregator\"");

/// Methods that every path supports and that give nothing away.
pub fn is_free(method: &Method) -> bool {
    *method == Method::OPTIONS
}
