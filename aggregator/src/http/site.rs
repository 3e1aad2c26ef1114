//! The pages and files for browsers. They are not operations of the API, so `GET /openapi.json` does not list them.

pub mod docs;
pub mod page;
pub mod sign_in;
