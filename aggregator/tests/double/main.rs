//! The whole consumer against a double of the broker, for the orders of deliveries, acks and losses that a real one
//! shows rarely. The double speaks the NATS protocol on a port, so nothing in the consumer knows of it.

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
