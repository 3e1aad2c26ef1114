//! Tests the whole consumer against a double of the broker, for orders of deliveries, acks and losses that a real one
//! shows rarely. The double speaks the NATS protocol on a port, so the consumer needs no changes for it.

mod api;
mod broker;
mod durable;
mod evidence;
mod message;
mod named;
mod oracle;
mod properties;
mod script;
mod server;
mod stage;
mod stream;
mod wire;
