//! Who may do what: tokens, each with the topics that it may publish and read.
//!
//! [`Access`] is shared by the HTTP layer, which asks for the [`Grant`] of each request, and the task that rereads the
//! tokens file. Nothing here knows HTTP or the store.

mod file;
mod grant;
mod pattern;
mod secret;
mod subject;
mod tokens;
mod watch;

pub use self::{
    file::{FileError, New, Tokens, add, check_name, parse_rate, remove},
    grant::{Grant, Rate},
    pattern::{Pattern, Patterns, Span, WrongPattern},
    secret::Secret,
    subject::{Certificate, Subject},
    tokens::{Access, Refused},
    watch::keep_reading,
};
