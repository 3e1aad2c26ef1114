//! The place of an arrival in the streams that a store has applied, as one number that orders them.
//!
//! It is made of the life of the stream, the sequence of the message, and the position in the message. Each life has a base, which is
//! larger than every base + sequence of the lives before it, so that `base + sequence` orders the messages of all lives; the position
//! takes the low bits. So a place travels as the `sequence` of the API and in its cursors unchanged: it only is not dense.
//! Up to 2^36 messages (68 billion) it is exact in JSON read by JavaScript; the largest number of messages is 2^46.

use shared::message::MAX_ELEMENTS;

/// Bits of the position in a message.
const POSITION_BITS: u32 = 17;

/// Positions in a message.
pub(super) const POSITIONS: i64 = 1 << POSITION_BITS;

const _: () = assert!(MAX_ELEMENTS <= 1 << POSITION_BITS);

/// The largest sum of a base and a sequence.
pub(super) const MAX_MESSAGE: i64 = (1 << (63 - POSITION_BITS)) - 2;

/// The place at a position in the message with this sum of its life's base and its sequence.
pub(super) fn of(message: i64, position: usize) -> i64 {
    debug_assert!(message <= MAX_MESSAGE && position < 1 << POSITION_BITS);
    (message << POSITION_BITS) | i64::try_from(position).unwrap_or(0)
}

/// The last place of the message with this sum.
pub(super) fn last_of(message: i64) -> i64 {
    ((message + 1) << POSITION_BITS) - 1
}

/// The sum of base and sequence, and the position.
pub(super) fn parts(place: i64) -> (i64, u64) {
    let position = place & ((1 << POSITION_BITS) - 1);
    (place >> POSITION_BITS, position.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_the_order_of_messages_and_positions() {
        let places = [
            of(0, 0),
            of(0, 99_999),
            of(1, 0),
            of(1, 1),
            of(MAX_MESSAGE, 0),
        ];
        assert!(places.is_sorted_by(|a, b| a < b));
        assert!(last_of(1) > of(1, 99_999) && last_of(1) < of(2, 0));
        assert!(last_of(MAX_MESSAGE) > of(MAX_MESSAGE, 99_999));
        assert_eq!(parts(of(7, 5)), (7, 5));
    }

    #[test]
    fn a_place_is_exact_in_javascript_up_to_68_billion_messages() {
        assert!(last_of((1 << 36) - 1) < 1 << 53);
    }
}
