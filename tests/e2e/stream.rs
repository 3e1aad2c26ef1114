//! The broker and the stream: which ones are accepted, what happens when they change or fail, and trimming.

mod answers;
mod brokers;
mod certificates;
mod cluster;
mod login_files;
mod logins;
mod mixed;
mod oldest_broker;
mod outage;
mod ownership;
mod reconciliation;
mod refused;
mod stream_changes;
mod trimming;
mod users;
