//! What tails count and wait for: places are not dense.

use std::{sync::Arc, time::Duration};

use super::{Opened, with_database};
use crate::{
    access::Pattern,
    store::{
        query::{EventQuery, Visible},
        tests::arrivals::{Arrival, mixed_delivery},
    },
};

/// A message with one event of topic `t0` and one of `t1`.
fn both(id: u8) -> Vec<Arrival> {
    let of = |topic| Arrival::Event {
        topic,
        id,
        content: 0,
    };
    vec![of(0), of(1)]
}

#[test]
fn events_between_places_are_counted_whatever_the_places() {
    with_database(async |database| {
        let opened = Opened::with_stream(&database, 0).await;
        let batch: Vec<_> = (1..=10)
            .map(|sequence| mixed_delivery(sequence, &both(u8::try_from(sequence).unwrap())))
            .collect();
        opened.append(&batch).await;
        opened.pass().await;
        let reader = &opened.reader;
        let upto = *reader.last_event().borrow();
        let distance = async |most| reader.distance(0, upto, most).await.unwrap();
        assert_eq!([distance(100).await, distance(20).await], [20, 20]);
        assert!(distance(19).await > 19);
        assert_eq!(reader.distance(upto, upto, 9).await.unwrap(), 0);
        let limited = EventQuery {
            visible: Visible::of(Arc::new(
                [Pattern::parse("t1").unwrap()].into_iter().collect(),
            )),
            ..EventQuery::default()
        };
        let between = async |query: &EventQuery, upto| {
            let counted = reader.events_between(query, 0, upto).await;
            counted.unwrap()
        };
        assert_eq!(between(&limited, upto).await, Some(10));
        // One more event than is read for that.
        opened.append(&[mixed_delivery(11, &both(11)[..1])]).await;
        opened.pass().await;
        let upto = *reader.last_event().borrow();
        assert_eq!(between(&limited, upto).await, None);
        assert_eq!(between(&EventQuery::default(), upto).await, Some(21));
    });
}

#[test]
fn a_place_that_another_aggregator_has_sent_is_reached_a_moment_later() {
    with_database(async |database| {
        let one = Opened::with_stream(&database, 0).await;
        let other = Opened::with_stream(&database, 0).await;
        other.append(&[mixed_delivery(1, &both(1))]).await;
        other.pass().await;
        let place = *other.reader.last_event().borrow();
        let reaching = one.reader.reaches_within(place, Duration::from_secs(60));
        let (reached, ()) = tokio::join!(reaching, one.pass());
        assert!(reached);
        let none = one.reader.reaches_within(place + 1, Duration::ZERO);
        assert!(!none.await, "none has sent it");
    });
}
