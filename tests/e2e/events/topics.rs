//! Topics with any characters stay distinct, whatever their subjects look like.

use std::collections::BTreeSet;

use e2e::{System, event::event};

/// Names that a subject, a query or a table might misinterpret.
fn strange() -> Vec<String> {
    let mut names: Vec<String> = [
        " ",
        "  ",
        "a b",
        " a",
        "a ",
        ".",
        "..",
        "...",
        ".a",
        "a.",
        "a..b",
        "a.b",
        "a.b.",
        "*",
        "a.*",
        ">",
        "a.>",
        "%",
        "%20",
        "a%20b",
        "a+b",
        "%2E",
        "$JS.API.>",
        "_INBOX.x",
        "events",
        "events.events",
        "a/b",
        "a\\b",
        "a&b=c?d#e",
        "'; DROP TABLE events; --",
        "\"",
        "ä",
        "a\u{308}",
        "漢字",
        "🦀",
        "🦀.🦀",
        "\u{0}",
        "a\u{0}b",
        "\t",
        "\r\n",
        "\u{1b}[31m",
        "\u{7f}",
        "\u{feff}",
        "\u{10ffff}",
        "null",
        "A",
        "a",
    ]
    .map(str::to_owned)
    .into();
    for longest in [
        "x".repeat(255),
        ".".repeat(255),
        "é".repeat(127),
        "a.".repeat(127) + "b",
        " ".repeat(255),
    ] {
        names.push(longest);
    }
    names
}

#[tokio::test]
async fn topics_of_any_characters_stay_distinct_and_are_found() {
    let system = System::start().await;
    let names = strange();
    let sent: Vec<_> = names
        .iter()
        .map(|name| event(name, "the same id"))
        .collect();
    system.api().publish(&sent).await;
    system.api().publish(&sent[..10]).await;
    let books = system.settled().await;
    let count = names.len() as u64;
    assert_eq!(books.counts(), [count + 10, count, 10]);
    assert_eq!(books.stats.conflicts, 0);
    let expected: BTreeSet<_> = names.iter().collect();
    assert_eq!(expected.len(), names.len());
    assert!(books.topics.keys().eq(expected));
    for name in &names {
        let page = system.api().events_of(name).await.json();
        assert_eq!(
            (&page["total"], &page["filtered_by_topic"]),
            (&1.into(), &name.as_str().into())
        );
        assert_eq!(page["events"][0]["topic"], name.as_str());
    }
}

#[tokio::test]
async fn topics_of_any_characters_can_be_sent_by_a_publisher() {
    let system = System::start().await;
    let names = strange();
    let lines: Vec<_> = names.iter().map(|name| event(name, "1").json()).collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let count = names.len().to_string();
    let arguments = [
        "send",
        file.to_str().unwrap(),
        "--verify",
        system.api().url(),
        "--expect-unique",
        &count,
    ];
    let run = system.publish(&arguments).await;
    run.succeeded();
    let books = system.settled().await;
    assert!(
        books
            .topics
            .keys()
            .eq(names.iter().collect::<BTreeSet<_>>())
    );
}

#[tokio::test]
async fn pages_of_topics_and_of_events_miss_nothing_and_repeat_nothing() {
    let system = System::start().await;
    let names = strange();
    let sent: Vec<_> = names
        .iter()
        .flat_map(|name| ["1", "2"].map(|id| event(name, id)))
        .collect();
    system.api().publish(&sent).await;
    system.settled().await;
    for (path, list, of) in [
        ("/topics", "topics", names.len()),
        ("/events", "events", sent.len()),
    ] {
        let mut seen = BTreeSet::new();
        let mut cursor = None::<String>;
        loop {
            let mut query = vec![("limit", "7")];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = system.api().ask(path, &query).await.json();
            assert_eq!(page["total"], of);
            for item in page[list].as_array().unwrap() {
                let name = (item["topic"].to_string(), item["event_id"].to_string());
                assert!(seen.insert(name), "{item} is listed twice");
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        assert_eq!(seen.len(), of, "{path}");
    }
    let nothing = system.api().events_of("not there").await.json();
    assert_eq!(
        (
            &nothing["total"],
            nothing["events"].as_array().unwrap().len()
        ),
        (&0.into(), 0)
    );
}
