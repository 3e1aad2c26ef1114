//! What browsers are served.

pub mod docs;
pub mod page;
