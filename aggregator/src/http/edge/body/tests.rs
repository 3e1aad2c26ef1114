//! Bodies, compressed and plain, against their limits.

use std::io;

use async_compression::tokio::bufread::{GzipEncoder, ZstdEncoder};
use axum::{
    http::{HeaderValue, StatusCode},
    response::IntoResponse,
};
use futures::stream;

use super::*;

const CODINGS: [&str; 2] = ["gzip", "zstd"];

fn headers(coding: &str) -> HeaderMap {
    let value = HeaderValue::from_str(coding).unwrap();
    HeaderMap::from_iter([(header::CONTENT_ENCODING, value)])
}

async fn compressed(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    match coding {
        "gzip" => GzipEncoder::new(bytes).read_to_end(&mut compressed).await,
        _ => ZstdEncoder::new(bytes).read_to_end(&mut compressed).await,
    }
    .unwrap();
    compressed
}

/// The status and the text of a refusal.
async fn refusal(received: Result<ReceivedBody, Problem>) -> (StatusCode, String) {
    let response = received.unwrap_err().into_response();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn plain(intake: &Intake, bytes: usize) -> Result<ReceivedBody, Problem> {
    let body = Body::from(vec![b' '; bytes]);
    intake.take(&HeaderMap::new(), body).await
}

#[tokio::test]
async fn bodies_in_flight_are_bounded_and_returned() {
    let intake = Intake::default();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(plain(&intake, MAX_BODY_BYTES).await.unwrap());
    }
    assert!(plain(&intake, 1).await.is_err());
    held.pop();
    assert!(plain(&intake, MAX_BODY_BYTES).await.is_ok());
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let intake = Intake::default();
    assert!(plain(&intake, MAX_BODY_BYTES + 1).await.is_err());
}

#[tokio::test]
async fn a_compressed_body_is_decompressed_from_frames_of_any_size() {
    let text: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    for coding in CODINGS {
        let compressed = compressed(coding, &text).await;
        for size in [1_000, compressed.len()] {
            let frames: Vec<_> = compressed
                .chunks(size)
                .map(Bytes::copy_from_slice)
                .collect();
            let frames = frames.into_iter().map(Ok::<_, io::Error>);
            let body = Body::from_stream(stream::iter(frames));
            let intake = Intake::default();
            let received = intake.take(&headers(coding), body).await.unwrap();
            assert!(received.bytes == text, "{coding}, frames of {size} bytes");
            assert_eq!(
                intake.bytes.available_permits(),
                MAX_BYTES_IN_FLIGHT - text.len()
            );
            drop(received);
            assert_eq!(intake.bytes.available_permits(), MAX_BYTES_IN_FLIGHT);
        }
    }
}

#[tokio::test]
async fn consecutive_members_are_one_body() {
    for coding in CODINGS {
        let mut both = compressed(coding, b"one ").await;
        both.extend(compressed(coding, b"").await);
        both.extend(compressed(coding, b"two").await);
        let body = Body::from(both);
        let received = Intake::default().take(&headers(coding), body).await;
        assert_eq!(received.unwrap().bytes, "one two");
    }
}

#[tokio::test]
async fn a_body_that_decompresses_to_too_much_is_refused_early() {
    let zeros = vec![0; 20 * 1024 * 1024];
    for coding in CODINGS {
        // 100 MiB.
        let compressed = compressed(coding, &zeros).await.repeat(5);
        let room = compressed.len() + MAX_BODY_BYTES;
        let intake = Intake::of(room);
        let received = intake
            .take(&headers(coding), compressed.clone().into())
            .await;
        // With room for one body only: if more had been decompressed, the status would be 503.
        assert_eq!(refusal(received).await.0, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(intake.bytes.available_permits(), room);
        let room = compressed.len() + CHUNK_BYTES;
        let intake = Intake::of(room);
        let received = intake.take(&headers(coding), compressed.into()).await;
        assert_eq!(refusal(received).await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(intake.bytes.available_permits(), room);
    }
}

#[tokio::test]
async fn the_compressed_size_of_a_body_is_bounded_too() {
    // A skippable frame (RFC 8878, 3.1.2), which decompresses to nothing.
    let mut frame = vec![0; MAX_BODY_BYTES / 8];
    let bytes = u32::try_from(frame.len() - 8).unwrap();
    frame[..4].copy_from_slice(&0x184d_2a50_u32.to_le_bytes());
    frame[4..8].copy_from_slice(&bytes.to_le_bytes());
    let take = async |frames| {
        let frame = Bytes::from(frame.clone());
        let frames = (0..frames).map(move |_| Ok::<_, io::Error>(frame.clone()));
        let body = Body::from_stream(stream::iter(frames));
        Intake::default().take(&headers("zstd"), body).await
    };
    assert_eq!(take(8).await.unwrap().bytes, "");
    assert_eq!(
        refusal(take(9).await).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn a_body_cut_short_or_damaged_is_corrupt() {
    let text = b"[]".repeat(1_000);
    for coding in CODINGS {
        let whole = compressed(coding, &text).await;
        let mut damaged = whole.clone();
        damaged[0] ^= 1;
        let mut trailing = whole.clone();
        trailing.extend(b"more");
        let cut = whole[..whole.len() - 1].to_vec();
        for wrong in [cut, damaged, trailing, text.clone(), Vec::new()] {
            let intake = Intake::default();
            let received = intake.take(&headers(coding), wrong.clone().into()).await;
            let (status, text) = refusal(received).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{coding} {wrong:?}");
            assert!(text.contains("urn:problem:body-corrupt"), "{text}");
            assert_eq!(intake.bytes.available_permits(), MAX_BYTES_IN_FLIGHT);
        }
    }
}

async fn decompressed(coding: &str, body: Vec<u8>) -> Result<Bytes, (StatusCode, String)> {
    match Intake::default().take(&headers(coding), body.into()).await {
        Ok(received) => Ok(received.bytes.clone()),
        Err(problem) => Err(refusal(Err(problem)).await),
    }
}

#[tokio::test]
async fn zeros_after_the_last_gzip_member_are_ignored_and_other_garbage_is_refused() {
    let mut both = compressed("gzip", b"one ").await;
    both.extend(compressed("gzip", b"two").await);
    for zeros in [1, 7, 511, 10_240, 1_000_000] {
        let body = [both.clone(), vec![0; zeros]].concat();
        assert_eq!(
            decompressed("gzip", body).await.unwrap(),
            "one two",
            "{zeros}"
        );
    }
    for garbage in [
        &b"\0\0\x01"[..],
        b"\0\x1f\x8b\x08\0\0\0\0\0\0\0",
        b"more",
        b"\x1f",
        b"\x1f\x8b\x08",
    ] {
        let body = [&both, garbage].concat();
        let (status, text) = decompressed("gzip", body).await.unwrap_err();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{garbage:?}");
        assert!(text.contains("urn:problem:body-corrupt"), "{text}");
    }
    // Padding alone is not gzip, and zstd has no padding.
    assert!(decompressed("gzip", vec![0; 512]).await.is_err());
    let padded = [compressed("zstd", b"one").await, vec![0; 512]].concat();
    assert!(decompressed("zstd", padded).await.is_err());
}

#[tokio::test]
async fn reserved_flags_in_the_header_of_any_gzip_member_are_refused() {
    let member = compressed("gzip", b"one").await;
    for flag in [0x20, 0x40, 0x80, 0xe0] {
        let mut reserved = member.clone();
        reserved[3] |= flag;
        for body in [reserved.clone(), [member.clone(), reserved].concat()] {
            let (status, text) = decompressed("gzip", body).await.unwrap_err();
            assert_eq!(status, StatusCode::BAD_REQUEST, "{flag:#x}");
            assert!(text.contains("reserved flags"), "{text}");
        }
    }
    // FTEXT does not change the format.
    let mut text = member.clone();
    text[3] |= 1;
    assert_eq!(decompressed("gzip", text).await.unwrap(), "one");
}

#[tokio::test]
async fn a_zstd_frame_that_asks_for_more_than_8_mib_is_refused() {
    // Magic number, no content size, a window of 2^24 bytes, an empty last block.
    let header = |window_log: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3, 1, 0, 0];
    let take = async |window_log| {
        let body = Body::from(header(window_log).to_vec());
        Intake::default().take(&headers("zstd"), body).await
    };
    assert_eq!(take(23).await.unwrap().bytes, "");
    assert_eq!(refusal(take(24).await).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_compressed_body_that_ends_early_is_incomplete() {
    let whole = compressed("gzip", b"[]").await;
    let frames = [Ok(Bytes::from(whole)), Err(io::ErrorKind::ConnectionReset)];
    let body = Body::from_stream(stream::iter(frames.map(|f| f.map_err(io::Error::from))));
    let received = Intake::default().take(&headers("gzip"), body).await;
    let (status, text) = refusal(received).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("urn:problem:body-incomplete"), "{text}");
}

#[tokio::test]
async fn an_unknown_coding_is_refused_with_the_supported_ones() {
    let received = Intake::default().take(&headers("br"), Body::empty()).await;
    let response = received.unwrap_err().into_response();
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(response.headers()[header::ACCEPT_ENCODING], "gzip, zstd");
}
