//! What the aggregator and the publisher must agree on: the event, the message that carries events,
//! the stream contract, and the publisher that gathers events into messages and waits for their
//! `PubAck`; with the telemetry and the shutdown that both services start with.

pub mod cloudevent;
pub mod connection;
pub mod event;
pub mod message;
pub mod publish;
pub mod service;
pub mod stream;
pub mod subject;
pub mod telemetry;
pub mod trace;
