//! Frames of the NATS protocol, as far as the proxy must distinguish them.

use bytes::BytesMut;

use super::frame::FrameKind;

/// Takes the next complete frame; none if more bytes are needed.
pub(super) fn take(buffer: &mut BytesMut) -> Option<(FrameKind, BytesMut)> {
    let line = buffer.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let payload = payload(&buffer[..line - 2]);
    let whole = line + payload.map_or(0, |bytes| bytes + 2);
    if buffer.len() < whole {
        buffer.reserve(whole - buffer.len());
        return None;
    }
    let frame = buffer.split_to(whole);
    let kind = match payload {
        None => FrameKind::Line,
        Some(_) => kind(&frame[..line], &frame[line..]),
    };
    Some((kind, frame))
}

/// The length of the payload that a line announces, including headers.
fn payload(line: &[u8]) -> Option<usize> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let operation = words.next()?;
    let carries = ["MSG", "HMSG", "PUB", "HPUB"];
    if !carries.iter().any(|op| operation.eq_ignore_ascii_case(op)) {
        return None;
    }
    words.next_back()?.parse().ok()
}

fn kind(line: &[u8], payload: &[u8]) -> FrameKind {
    let holds = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|found| found == part);
    if line.starts_with(b"PUB $JS.ACK.") {
        return FrameKind::Ack;
    }
    if (line.starts_with(b"MSG ") || line.starts_with(b"HMSG ")) && holds(line, b" $JS.ACK.") {
        return FrameKind::Delivery;
    }
    let comes_to_inbox = line.starts_with(b"MSG _INBOX.") || line.starts_with(b"HMSG _INBOX.");
    let says_stream = payload.starts_with(b"{\"stream\":") || payload.starts_with(b"{\"error\":");
    if comes_to_inbox && says_stream && holds(payload, b"\"seq\":") {
        return FrameKind::PubAck;
    }
    FrameKind::Payload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_recognized_wherever_the_bytes_are_split() {
        let all = b"PING\r\nMSG _INBOX.a.1 1 29\r\n{\"stream\":\"EVENTS\", \"seq\":12}\r\n\
            MSG events.a 2 $JS.ACK.EVENTS.a.1.2.3 2\r\n[]\r\nPUB $JS.ACK.EVENTS.a.1.2.3 4\r\n+ACK\r\nHPUB events.a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n+OK\r\n";
        let wanted = [
            FrameKind::Line,
            FrameKind::PubAck,
            FrameKind::Delivery,
            FrameKind::Ack,
            FrameKind::Payload,
            FrameKind::Line,
        ];
        for split in 0..all.len() {
            let mut found = Vec::new();
            let mut bytes = Vec::new();
            let mut buffer = BytesMut::new();
            for part in [&all[..split], &all[split..]] {
                buffer.extend_from_slice(part);
                while let Some((kind, frame)) = take(&mut buffer) {
                    found.push(kind);
                    bytes.extend_from_slice(&frame);
                }
            }
            assert_eq!(found, wanted, "split at {split}");
            assert_eq!(bytes, all);
        }
    }
}
