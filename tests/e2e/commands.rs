//! The programs' commands.

mod command_lines;
mod compose;
mod lifecycle;
mod reading;
