//! The programs as people start them.

mod command_lines;
mod compose;
mod lifecycle;
mod reading;
