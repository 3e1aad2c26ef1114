//! Free ports.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the range from which systems take the ports of outgoing connections, so that a port that is free for a
/// while, such as that of a stopped broker, is not taken by one of those.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Tests of one process run concurrently: each port is handed out only once.
static GIVEN: AtomicU16 = AtomicU16::new(0);

/// A port of the loopback address on which nothing listens.
pub fn free() -> u16 {
    let start = u16::try_from(std::process::id() * 37 % u32::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(given) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port from {FIRST} to {} is free", FIRST + COUNT - 1);
}
