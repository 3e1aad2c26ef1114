//! A store in a database: what keeps aggregators from using it is found, and nothing is changed.

use e2e::{aggregator::Aggregator, broker::Broker, database::Database, event::events};
use serde_json::Value;

use super::{Examined, NO_BROKER, NOWHERE, doctor};

/// Examines a database without a service and a broker.
async fn alone(url: &str) -> Examined {
    doctor(&["--url", NOWHERE, "--nats-url", NO_BROKER, "--store", url]).await
}

#[tokio::test]
async fn the_store_of_running_aggregators_is_read() {
    let Some(database) = Database::new() else {
        return;
    };
    let broker = Broker::start().await;
    let directory = tempfile::tempdir().unwrap();
    let (url, nats) = (database.url(), broker.url_of("aggregator"));
    let flags = ["--store", url.as_str()];
    let start = || Aggregator::start(&nats, directory.path(), &flags);
    let (one, other) = (start().await, start().await);
    for aggregator in [&one, &other] {
        aggregator.healthy().await;
    }
    one.api().store(&events("orders", 0..10)).await;

    let here = ["--url", one.api().url(), "--nats-url", nats.as_str()];
    let examined = doctor(&[&here[..], &["--store", &url]].concat()).await;
    examined.finds_nothing();
    let found = &examined.json["database"]["store"];
    assert_eq!(found["record"]["unique_processed"], 10, "{found}");
    assert_eq!(found["aggregators"].as_array().unwrap().len(), 2, "{found}");
    assert_eq!(examined.json["data_dir"], Value::Null);
    assert_eq!(examined.json["not_read"], serde_json::json!({}));
    let text = &examined.ended.stdout;
    assert!(
        text.contains("10 events of 1 topics, applied up to"),
        "{text}"
    );

    // The service names its database, without what is needed to connect.
    let examined = doctor(&here).await;
    examined.finds_nothing();
    assert_eq!(examined.json["database"], Value::Null);
    let reason = examined.json["not_read"]["database"].as_str().unwrap();
    assert!(reason.contains("--store or AGGREGATOR_STORE"), "{reason}");
}

#[tokio::test]
async fn a_database_that_aggregators_cannot_use_is_a_finding() {
    let Some(database) = Database::new() else {
        return;
    };
    let url = database.url();
    alone(&url).await.finds("there is no store in postgres://");
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(database.sql(tables), "0", "it creates nothing");

    let broker = Broker::start().await;
    let directory = tempfile::tempdir().unwrap();
    let nats = broker.url_of("aggregator");
    let mut aggregator = Aggregator::start(&nats, directory.path(), &["--store", &url]).await;
    aggregator.healthy().await;
    aggregator.stop().await;
    let findings = alone(&url).await.findings();
    let of_database = findings.iter().filter(|text| text.starts_with("database"));
    assert_eq!(of_database.count(), 0, "{findings:?}");

    let version = database.sql("SELECT version FROM schema_version");
    database.sql("UPDATE schema_version SET version = 99");
    alone(&url).await.finds("has schema version 99");
    database.sql("UPDATE schema_version SET version = 1");
    alone(&url).await.finds("has schema version 1, ");
    database.sql(&format!("UPDATE schema_version SET version = {version}"));

    // The server's roles are those of all its databases.
    let name = database.sql("SELECT current_database()");
    database.sql(&format!("CREATE ROLE reads_{name} LOGIN"));
    let reader = url.replace("postgres@", &format!("reads_{name}@"));
    alone(&reader).await.finds("permission denied: ");
    database.sql(&format!(
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reads_{name}"
    ));
    alone(&reader)
        .await
        .finds("the user may not read and change aggregators, applied, ");

    for (setting, value, said) in [
        ("synchronous_commit", "off", "synchronous_commit is off"),
        (
            "default_transaction_read_only",
            "on",
            "the server is a standby or read-only: ",
        ),
    ] {
        database.sql(&format!("ALTER DATABASE {name} SET {setting} = {value}"));
        alone(&url).await.finds(said);
        database.sql(&format!(
            "BEGIN READ WRITE; ALTER DATABASE {name} RESET {setting}; COMMIT"
        ));
    }
    alone("postgres://me@127.0.0.1:9/events")
        .await
        .finds("no connection: ");
    alone(&url.replace(&name, "none"))
        .await
        .finds("no such database: ");
}
