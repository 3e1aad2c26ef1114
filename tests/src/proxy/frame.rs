//! What the proxy must tell apart in the two protocols.

use bytes::BytesMut;

use super::{nats, postgres};

/// The protocol of the clients and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Nats,
    Postgres,
}

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// A line of NATS without a payload: `PING`, `SUB` and the like.
    Line,
    /// The broker's confirmation that a message is in the stream.
    PubAck,
    /// The client's ack of a delivery.
    Ack,
    /// A message of the stream on its way to the consumer.
    Delivery,
    /// A client's COMMIT.
    Commit,
    /// The database's answer to a COMMIT that took effect.
    Committed,
    /// Any other frame of NATS with a payload; any other messages of PostgreSQL that arrived together.
    Payload,
}

/// Cuts the bytes of one direction of a connection into frames.
#[derive(Debug)]
pub(super) enum Frames {
    Nats,
    Postgres(postgres::Messages),
}

impl Frames {
    /// Those that a client sends.
    pub fn of_client(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Nats => Self::Nats,
            Protocol::Postgres => Self::Postgres(postgres::Messages::of_client()),
        }
    }

    /// Those that the server sends.
    pub fn of_server(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Nats => Self::Nats,
            Protocol::Postgres => Self::Postgres(postgres::Messages::of_server()),
        }
    }

    /// Takes the next complete frame; none if more bytes are needed.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Option<(FrameKind, BytesMut)> {
        match self {
            Self::Nats => nats::take(buffer),
            Self::Postgres(messages) => messages.take(buffer),
        }
    }
}
