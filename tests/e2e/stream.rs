//! The broker and the stream: which ones are accepted, what happens when they change or fail, and trimming.

mod brokers;
mod logins;
mod mixed;
mod oldest_broker;
mod outage;
mod ownership;
mod reconciliation;
mod stream_changes;
mod trimming;
