//! Both services against a real broker: contracts, faults, the compose file.

mod commands;
mod counts;
mod dependencies;
mod events;
mod network;
mod page;
mod publish;
mod readme;
mod store;
mod stream;
