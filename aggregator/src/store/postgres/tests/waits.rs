//! Requests that wait for events that another aggregator appends.

use super::{Opened, with_database};
use crate::store::{
    ObservedStream, Outcome, StreamPlace, Wait, postgres,
    tests::arrivals::{Arrival, delivery, event, stream},
};

fn of(id: u8, content: u8) -> Arrival {
    Arrival::Event {
        topic: 0,
        id,
        content,
    }
}

fn wait(opened: &Opened, ids: &[&str]) -> Wait {
    let identities = ids.iter().map(|id| ("t0", *id));
    opened.writer.wait(identities).unwrap()
}

/// What is known at these places after the database was asked once.
async fn read(opened: &Opened, wait: &Wait, places: &[StreamPlace]) -> Vec<Option<Outcome>> {
    let reading = async { postgres::read_outcomes(&opened.writer).await.unwrap() };
    tokio::select! {
        biased;
        () = wait.all(places) => {}
        () = reading => {}
    }
    wait.known(places)
}

#[test]
fn the_outcomes_of_events_that_another_aggregator_appends_are_read() {
    with_database(async |database| {
        let one = Opened::with_stream(&database, 0).await;
        let other = Opened::with_stream(&database, 0).await;
        other.append(&[delivery(1, &event(1))]).await;
        let places = [(2, 0), (2, 1), (3, 0), (3, 1)];
        let waiting = wait(&one, &["2", "1", "1", "2"]);
        assert_eq!(read(&one, &waiting, &places).await, [None; 4]);
        other
            .append(&[
                delivery(2, &[of(2, 0), of(1, 0)]),
                delivery(3, &[of(1, 7), of(2, 0), Arrival::Noise]),
            ])
            .await;
        let [first, second] = [1, 2].map(|message| postgres::place::of(message, 0));
        let expected = [
            Outcome::Stored(second),
            Outcome::Duplicate(first),
            Outcome::Conflict(first),
            Outcome::Duplicate(second),
        ];
        let expected = expected.map(Some);
        assert_eq!(read(&one, &waiting, &places).await, expected);
        // Also once they are folded into the floor.
        other.pass().await;
        assert_eq!(database.sql("SELECT count(*) FROM applied"), "0");
        let waiting = wait(&one, &["2", "1", "1", "2"]);
        assert_eq!(read(&one, &waiting, &places).await, expected);
        let waiting = wait(&one, &["x"]);
        assert_eq!(
            read(&one, &waiting, &[(3, 2)]).await,
            [Some(Outcome::Rejected)]
        );
    });
}

#[test]
fn an_event_whose_message_the_stream_lost_stays_pending() {
    with_database(async |database| {
        let one = Opened::with_stream(&database, 0).await;
        let other = Opened::with_stream(&database, 0).await;
        other.append(&[delivery(1, &event(1))]).await;
        let waiting = wait(&one, &["1"]);
        // The stream has messages from 4 on: 2 and 3 are missing, and the floor is beyond them.
        let met = other.writer.meet(&stream(4, 5).into(), 0).await.unwrap();
        assert_eq!(met.standing.floor, 3);
        assert_eq!(read(&one, &waiting, &[(2, 0)]).await, [None]);
        // A message of another life has the same sequence.
        let waiting = wait(&one, &["1"]);
        let observed = ObservedStream {
            is_other: true,
            ..stream(1, 5).into()
        };
        let begin = async {
            other.writer.meet(&observed, 0).await.unwrap();
            let mut later = delivery(4, &event(2));
            later.time += 10;
            other.append(&[later]).await;
            one.pass().await;
            postgres::read_outcomes(&one.writer).await.unwrap();
        };
        tokio::select! {
            biased;
            () = waiting.all(&[(4, 0)]) => {}
            () = begin => {}
        }
        assert_eq!(waiting.known(&[(4, 0)]), [None]);
    });
}
