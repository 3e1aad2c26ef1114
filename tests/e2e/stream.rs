//! The broker and the stream: which are taken, what changes there, and what goes wrong.

mod brokers;
mod logins;
mod oldest_broker;
mod outage;
mod ownership;
mod reconciliation;
mod stream_changes;
mod trimming;
