//! Messages of PostgreSQL's protocol, as far as the proxy must distinguish them.
//!
//! A message is a tag, the length of the rest, and the rest; only the first one of a client has no tag. Connections are not encrypted.

use bytes::BytesMut;

use super::frame::FrameKind;

/// The bytes of a length, which counts itself.
const LENGTH: usize = 4;

/// The statement, and the database's answer to it.
const COMMIT: &[u8] = b"COMMIT\0";
const QUERY: u8 = b'Q';
const COMPLETE: u8 = b'C';

/// The messages of one direction of a connection.
#[derive(Debug)]
pub(super) struct Messages {
    is_first: bool,
    of_client: bool,
}

impl Messages {
    pub fn of_client() -> Self {
        Self {
            is_first: true,
            of_client: true,
        }
    }

    pub fn of_server() -> Self {
        Self {
            is_first: false,
            of_client: false,
        }
    }

    /// Takes a COMMIT or the answer to one, or all complete messages before the next of these; none if more bytes are needed.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Option<(FrameKind, BytesMut)> {
        let mut end = 0;
        while let Some(bytes) = self.length(&buffer[end..]) {
            let message = &buffer[end..end + bytes];
            let kind = self.kind(message);
            if kind != FrameKind::Payload {
                if end > 0 {
                    break;
                }
                return Some((kind, buffer.split_to(bytes)));
            }
            self.is_first = false;
            end += bytes;
        }
        (end > 0).then(|| (FrameKind::Payload, buffer.split_to(end)))
    }

    /// The bytes of the first message; none if it is not complete.
    fn length(&self, bytes: &[u8]) -> Option<usize> {
        let tag = usize::from(!self.is_first);
        let length = bytes.get(tag..tag + LENGTH)?;
        let length = u32::from_be_bytes(length.try_into().ok()?);
        let whole = tag + usize::try_from(length).ok()?;
        (bytes.len() >= whole).then_some(whole)
    }

    fn kind(&self, message: &[u8]) -> FrameKind {
        let is = |tag: u8| {
            !self.is_first && message[0] == tag && message.get(1 + LENGTH..) == Some(COMMIT)
        };
        if self.of_client && is(QUERY) {
            FrameKind::Commit
        } else if !self.of_client && is(COMPLETE) {
            FrameKind::Committed
        } else {
            FrameKind::Payload
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &[u8] = b"\0\0\0\x08\0\x03\0\0";
    const BIND: &[u8] = b"B\0\0\0\x0bCOMMIT\0";
    const SENT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
    const ANSWER: &[u8] = b"C\0\0\0\x0bCOMMIT\0";
    const READY: &[u8] = b"Z\0\0\0\x05I";

    fn all(mut messages: Messages, parts: [&[u8]; 2]) -> (Vec<FrameKind>, Vec<u8>) {
        let (mut kinds, mut bytes, mut buffer) = (Vec::new(), Vec::new(), BytesMut::new());
        for part in parts {
            buffer.extend_from_slice(part);
            while let Some((kind, frame)) = messages.take(&mut buffer) {
                kinds.push(kind);
                bytes.extend_from_slice(&frame);
            }
        }
        kinds.dedup();
        (kinds, bytes)
    }

    #[test]
    fn a_commit_and_its_answer_are_recognized_wherever_the_bytes_are_split() {
        let client = [START, BIND, SENT, SENT, BIND].concat();
        for split in 0..client.len() {
            let parts = [&client[..split], &client[split..]];
            let (kinds, bytes) = all(Messages::of_client(), parts);
            let wanted = [FrameKind::Payload, FrameKind::Commit, FrameKind::Payload];
            assert_eq!(kinds, wanted, "split at {split}");
            assert_eq!(bytes, client);
        }
        let server = [READY, ANSWER, READY].concat();
        for split in 0..server.len() {
            let parts = [&server[..split], &server[split..]];
            let (kinds, bytes) = all(Messages::of_server(), parts);
            let wanted = [FrameKind::Payload, FrameKind::Committed, FrameKind::Payload];
            assert_eq!(kinds, wanted, "split at {split}");
            assert_eq!(bytes, server);
        }
    }
}
