//! The pages and files for browsers.

pub mod docs;
pub mod page;

use super::{
    edge::problem::Problem,
    openapi::refusals::{problems, refusals},
};

refusals! {
    /// The refusal of a file that does not exist.
    NoFile = problems([Problem::not_found("nothing is served at /docs/nothing".to_owned())]);
}
