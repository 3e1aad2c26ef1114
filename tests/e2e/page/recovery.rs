//! What the page says of the latest problem after the tab was hidden.

use std::time::Duration;

use e2e::System;

use super::{HIDE, Page};

/// Samples are those of the test, based on a real one. Each step returns what the page says: null while there is a problem, or
/// how much later than the first sample there was none, in milliseconds, and what it was.
const STEPS: &str = "
    const $ = (selector) => document.querySelector(selector);
    const Real = EventSource;
    const real = new Real('live');
    const first = new Promise((found) => real.addEventListener('history', ({ data }) => found(JSON.parse(data).at(-1))));
    return first.then((sample) => {
        real.close();
        let live = null;
        window.EventSource = function (url) {
            if (url !== 'live') return new Real(url);
            live = new EventTarget();
            live.close = () => {};
            return live;
        };
        const well = { checks: {}, failing_since: {}, disk: { free_bytes: 5e10, total_bytes: 1e11, store_bytes: 1, seconds_left: null } };
        const full = { disk: { ...well.disk, free_bytes: 1e9 } };
        const at = (ms) => sample.at + ms;
        const after = (ms, other) => ({ ...sample, ...well, at: at(ms), uptime_seconds: sample.uptime_seconds + ms / 1000, ...other });
        const lost = (since) => ({ checks: { broker: 'connection refused' }, failing_since: { broker: at(since) } });
        const recovered = (problem, since, until) => ({ recovered: { problems: [problem], since: at(since), until: at(until) } });
        const said = () => $('#recovery').hidden ? null
            : [Date.parse($('#recovery time').dateTime) - sample.at, $('#recovery').textContent.split('; ')[1]];
        const receive = (kind, data) => {
            live.dispatchEvent(new MessageEvent(kind, { data: JSON.stringify(data) }));
            return said();
        };
        const shown = (...samples) => {
            hide(false);
            return receive('history', samples);
        };
        const hidden = (result) => {
            hide(true);
            return result;
        };
        hide(true);
        return [
            // A problem that is seen, and ends while the tab is hidden.
            hidden(shown(after(0), after(1000, lost(1000)))),
            hidden(shown(after(1000, lost(1000)), after(61_000, recovered('broker', 1000, 6000)))),
            // One that is never seen.
            hidden(shown(after(121_000, recovered('store', 100_000, 107_000)))),
            // One that is seen together with another, whose end only the page can see.
            shown(after(130_000, { ...lost(130_000), ...full })),
            hidden(receive('sample', after(131_000, { ...lost(130_000), ...full }))),
            shown(after(190_000, recovered('broker', 130_000, 140_000))),
            // One that is seen until it ends.
            receive('sample', after(200_000, lost(200_000))),
            receive('sample', after(203_000, recovered('broker', 200_000, 203_000))),
        ];
    });";

#[tokio::test]
async fn a_problem_that_ended_while_the_tab_was_hidden_lasted_as_long_as_the_aggregator_says() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    page.is_well(Duration::from_secs(5)).await;
    let said = page
        .browser
        .run(&format!("{HIDE} {STEPS}"), Vec::new())
        .await;
    let expected = serde_json::json!([
        null,
        [6000, "before, the broker was lost for 5 s."],
        [107_000, "before, the store was failing for 7 s."],
        null,
        null,
        [
            190_000,
            "before, the broker was lost, disk space was short for 1 min."
        ],
        null,
        [203_000, "before, the broker was lost for 3 s."],
    ]);
    assert_eq!(said, expected);
    page.ends_well().await;
}
