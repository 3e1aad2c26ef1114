//! Clients that send garbage, too much, or next to nothing.

use std::{io, net::Ipv4Addr, time::Duration};

use e2e::event::{array, event};
use futures::future::join_all;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep},
};

use super::network;
use crate::world::World;

/// Messages of a storm.
const STORM: u64 = 2_000;

const MEBIBYTE: usize = 1024 * 1024;

pub async fn poison(world: &mut World, random: &mut ChaCha8Rng) {
    // The previous fault may have left the broker not yet ready.
    world.aggregator.healthy().await;
    let jetstream = network::jetstream(world).await;
    let mut acks = Vec::new();
    for number in 0..STORM {
        let body: Vec<u8> = match number % 5 {
            0 => Vec::new(),
            1 => (0..random.random_range(1..500))
                .map(|_| random.random())
                .collect(),
            2 => br#"[{"topic":"faults.t0"}]"#.to_vec(),
            3 => b"[[[[[[[[[[".to_vec(),
            _ => array(&[event("another", "topic")]).into_bytes(),
        };
        let sent = jetstream.publish("events.faults.t0", body.into()).await;
        acks.push(sent.expect("a message can be sent").into_future());
    }
    let confirmed = join_all(acks).await.into_iter().flatten();
    assert_eq!(confirmed.count() as u64, STORM, "poison is confirmed");
    world.truth.noise(STORM);
}

/// Events and bodies at their limits, and one byte above.
pub async fn body_sizes(world: &mut World) {
    world.aggregator.healthy().await;
    let sized = |bytes: usize| event("faults-sizes", &bytes.to_string()).with_size(bytes);
    let largest = MEBIBYTE / 2;
    for (bytes, status) in [(largest, 200), (largest + 1, 422)] {
        let answer = world.api().post(array(&[sized(bytes)])).await;
        assert_eq!(answer.status, status, "{bytes}: {}", answer.text());
    }
    world.truth.one_more();
    let mut empty = vec![b' '; 16 * MEBIBYTE - 2];
    empty.extend_from_slice(b"[]");
    let answer = world.api().post(empty).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
}

/// A connection from an address of its own, which has its own share of connections, if the system has several loopback addresses.
async fn connect_as_another(address: &str) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let _ = socket.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into());
    let address = address.parse().map_err(io::Error::other)?;
    socket.connect(address).await
}

/// A thousand connections: half of them send nothing, the other half one byte per second.
pub async fn idle(world: &mut World, lasts: Duration) {
    let address = world.api().address();
    let mut connections = Vec::new();
    for _ in 0..1_000 {
        if let Ok(connection) = connect_as_another(&address).await {
            connections.push(connection);
        }
    }
    let end = Instant::now() + lasts;
    let mut head = b"POST /publish HTTP/1.1\r\n".iter();
    while Instant::now() < end {
        let byte = *head.next().unwrap_or(&b'x');
        for connection in connections.iter_mut().step_by(2) {
            // The service may have closed the connection.
            let _ = connection.write_all(&[byte]).await;
        }
        sleep(Duration::from_secs(1)).await;
    }
}
