//! The dashboard `compose/grafana.json`: a real Prometheus answers each of its queries.

use std::{collections::BTreeSet, fs};

use e2e::{
    System,
    event::{event, events},
    prometheus::Prometheus,
    wait::{eventually, holds},
    workspace,
};
use serde_json::Value;

/// The queries that have no results as long as all is well, or without a store in a database; their panels say so.
const NO_DATA: [&str; 2] = [
    "aggregator_trimming_held_messages",
    "aggregator_database_retries_total",
];

fn may_have_no_data(query: &str) -> bool {
    NO_DATA.iter().any(|name| query.starts_with(name))
}

fn dashboard() -> Value {
    let text = fs::read_to_string(workspace::root().join("compose/grafana.json")).unwrap();
    serde_json::from_str(&text).expect("it is JSON")
}

/// The panels with queries.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row").collect()
}

/// The queries of a panel.
fn queries(panel: &Value) -> Vec<&str> {
    let targets = panel["targets"].as_array().unwrap().iter();
    targets
        .map(|target| target["expr"].as_str().unwrap())
        .collect()
}

/// The metrics that a text names.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let metrics = words.filter(|word| {
        word.starts_with("aggregator_") || word.starts_with("process_") && word.len() > 15
    });
    metrics.map(str::to_owned).collect()
}

#[tokio::test]
async fn each_query_of_the_dashboard_has_results_when_there_is_traffic() {
    let system = System::start().await;
    let Some(prometheus) = Prometheus::of(system.api()).await else {
        return;
    };
    let dashboard = dashboard();
    let instance = system.api().address();
    let mut open: BTreeSet<String> = panels(&dashboard)
        .into_iter()
        .flat_map(queries)
        .map(|query| {
            query
                .replace("$instance", &instance)
                .replace("$__rate_interval", "6s")
        })
        .collect();
    assert!(open.len() > 40, "{open:#?}");
    assert!(!open.iter().any(|query| query.contains('$')), "{open:#?}");
    let held: Vec<_> = open
        .extract_if(.., |query| may_have_no_data(query))
        .collect();
    assert_eq!(held.len(), NO_DATA.len());
    for query in held {
        assert_eq!(prometheus.query(&query).await, Vec::<Value>::new());
    }

    let mut sent = 0;
    eventually("each query has a result", async || {
        // New events, duplicates, a conflict, a rejected arrival.
        sent += 1;
        system.api().store(&events("orders", sent..sent + 5)).await;
        let other = event("orders", "id-0").with_payload("{}");
        system.api().store(&[other]).await;
        system.put("events.orders", "noise").await;
        let mut answered = Vec::new();
        for query in &open {
            let results = prometheus.query(query).await;
            let is_number = |result: &Value| {
                let number = result["value"][1].as_str().unwrap();
                number.parse::<f64>().unwrap().is_finite()
            };
            if results.iter().any(is_number) {
                answered.push(query.clone());
            }
        }
        open.retain(|query| !answered.contains(query));
        holds(open.is_empty(), &open)
    })
    .await;

    let instances = prometheus.label_values("aggregator_build_info", "instance");
    assert_eq!(instances.await, serde_json::json!([instance]));
    let variable = &dashboard["templating"]["list"][1];
    assert_eq!(
        variable["query"]["query"],
        "label_values(aggregator_build_info, instance)"
    );
    let works = prometheus.query("min(aggregator_part_healthy)").await;
    assert_eq!(works[0]["value"][1], "1");
}

#[test]
fn the_dashboard_has_each_metric_that_the_document_names_and_no_other() {
    let document = fs::read_to_string(workspace::root().join("aggregator/README.md")).unwrap();
    let (_, section) = document.split_once("\n## Metrics\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let names = rows.filter_map(|row| row.split(" | ").next());
    let documented: BTreeSet<_> = names.flat_map(metrics).collect();
    let dashboard = dashboard();
    let shown = panels(&dashboard).into_iter().flat_map(queries);
    let shown: BTreeSet<_> = shown
        .flat_map(metrics)
        .map(|name| {
            // The parts of a histogram.
            let parts = ["_bucket", "_sum", "_count"].into_iter();
            let mut whole = parts.filter_map(|part| name.strip_suffix(part));
            whole.next().map_or(name.clone(), str::to_owned)
        })
        .collect();
    assert!(documented.len() > 30, "{documented:?}");
    assert_eq!(shown, documented);
}

#[test]
fn each_panel_has_a_place_a_unit_and_a_name_for_each_line() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|variable| &variable["name"]).collect();
    assert_eq!(names, ["datasource", "instance"]);
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            assert!(x < 24, "{title} is too wide");
            for y in place("y")..place("y") + place("h") {
                assert!(places.insert((x, y)), "{title} covers another panel");
            }
        }
    }
    for panel in panels(&dashboard) {
        let title = &panel["title"];
        assert!(
            !panel["description"].as_str().unwrap().is_empty(),
            "{title}"
        );
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap();
        for target in panel["targets"].as_array().unwrap() {
            let (query, line) = (&target["expr"], &target["legendFormat"]);
            assert!(!line.as_str().unwrap().is_empty(), "{title}");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let query = query.as_str().unwrap();
            assert!(query.contains("instance=\"$instance\""), "{title}");
            if may_have_no_data(query) {
                let said = panel["description"].as_str().unwrap();
                assert!(said.contains("no data"), "{said}");
            }
            let is_share = query.contains("outcome=\"duplicate\"}[$__rate_interval])) / ");
            let expected = match query {
                _ if is_share => Some("percentunit"),
                _ if query.starts_with("histogram_quantile") => Some("s"),
                _ if query.contains("_bytes") => Some("bytes"),
                _ => None,
            };
            assert!(expected.is_none_or(|expected| unit == expected), "{title}");
        }
    }
}
