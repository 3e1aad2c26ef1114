//! The real binary without a broker: how it starts, refuses to start, responds and exits.

mod commands;
mod lifecycle;
mod opening;
mod running;
mod settings;
