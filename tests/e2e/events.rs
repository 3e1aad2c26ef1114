//! What is stored and who asks for it: questions, exports, tails, and what people look at.

mod exports;
mod identities;
mod kept;
mod questions;
mod tail;
mod topics;
