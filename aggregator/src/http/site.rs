//! What browsers are served.

pub mod docs;
pub mod page;

use super::{
    edge::problem::Problem,
    openapi::refusals::{problems, refusals},
};

refusals! {
    /// Of a file that is not there.
    NoFile = problems([Problem::not_found("there is nothing at /docs/nothing".to_owned())]);
}
