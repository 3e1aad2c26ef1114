//! The programs' commands.

mod command_lines;
mod compose;
mod doctor;
mod lifecycle;
mod reading;
