//! The broker and the stream: which are accepted, changes, and faults.

mod brokers;
mod logins;
mod oldest_broker;
mod outage;
mod ownership;
mod reconciliation;
mod stream_changes;
mod trimming;
