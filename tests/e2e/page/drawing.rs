//! When the page draws, which is what it costs the computer that shows it. The scripts run without a pause, so that no sample
//! arrives meanwhile.

use e2e::{System, event::events};

use super::Page;

/// Selects the topic orders, whose tail is then `window.tail`: its events are those that a test dispatches.
pub(super) const PRETENDED_TAIL: &str = "window.Real = EventSource;
    window.EventSource = function (url) {
      if (!url.startsWith('events/tail')) return new Real(url);
      window.tail = new EventTarget();
      window.tail.close = () => {};
      return window.tail;
    };
    history.replaceState(null, '', '?topic=orders');
    dispatchEvent(new PopStateEvent('popstate'));
    window.tail.dispatchEvent(new MessageEvent('start', { data: '{}' }))";

#[tokio::test]
async fn events_are_listed_once_a_frame_or_while_some_are_skipped_once_a_sample() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..1)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    browser.shows("#event-rows li:first-child", "id-0").await;
    // The tail begins again.
    browser.run(PRETENDED_TAIL, Vec::new()).await;
    browser.shows("#event-rows li:first-child", "id-0").await;
    let script = "return import('/page/tail.js').then((tail) => {
        const frames = [];
        const real = window.requestAnimationFrame;
        window.requestAnimationFrame = (draw) => frames.push(draw);
        const send = (kind, data) => window.tail.dispatchEvent(new MessageEvent(kind, { data: JSON.stringify(data) }));
        const stored = (event_id) => send('message', {
          topic: 'orders', event_id, timestamp: '2026-01-31T12:00:00Z', source: 's', payload: {}, processed_at: '2999-01-31T12:00:00Z',
        });
        const listed = () => [...document.querySelectorAll('#event-rows bdi:nth-of-type(2)')].map((one) => one.textContent).join(' ');
        const seen = [];
        const see = () => seen.push([frames.length, listed()]);
        stored('a'); stored('b'); see();
        frames.pop()(); see();
        send('missed', { missed: 9 }); stored('c'); stored('d'); see();
        tail.tick(); see();
        stored('e'); frames.pop()(); see();
        window.requestAnimationFrame = real;
        return seen;
      })";
    assert_eq!(
        browser.run(script, Vec::new()).await,
        serde_json::json!([
            [1, "id-0"],
            [0, "b a id-0"],
            [0, "b a id-0"],
            [0, "d c b a id-0"],
            [0, "e d c b a id-0"],
        ])
    );
    page.ends_well().await;
}

#[tokio::test]
async fn what_a_row_opens_to_is_made_when_it_is_opened() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..3)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    browser.shows("#event-rows li:first-child", "id-2").await;
    let made = "[...document.querySelectorAll('#event-rows details > div')].map((one) => one.childElementCount > 0).join()";
    browser
        .until(&format!("{made} === 'false,false,false'"))
        .await;
    browser.click("#event-rows summary").await;
    browser
        .until(&format!("{made} === 'true,false,false'"))
        .await;
    page.ends_well().await;
}

#[tokio::test]
async fn a_chart_shows_each_value_at_once_and_draws_its_lines_when_they_have_moved() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let script = "return import('/page/chart.js').then(({ Chart }) => {
        const figure = document.createElement('figure');
        const chart = new Chart(figure, 'Rate', (n) => (n === null ? '–' : String(n)), [{ name: 'in', kind: 'one', of: ({ value }) => value }]);
        const drawn = () => figure.querySelector('path.one').getAttribute('d');
        const shown = () => figure.querySelector('b').textContent;
        const start = Date.now();
        const samples = [{ at: start, value: 1 }];
        chart.draw(samples, start, true);
        const first = drawn();
        const seen = [];
        for (const second of [1, 2]) {
          const at = start + 1000 * second;
          samples.push({ at, value: second + 1 });
          chart.follow([...samples], at, true);
          seen.push([shown(), drawn() === first]);
        }
        chart.follow([...samples], start + 2001, false);
        seen.push([shown(), chart.isCurrent]);
        return seen;
      })";
    assert_eq!(
        page.browser.run(script, Vec::new()).await,
        serde_json::json!([["2", true], ["3", false], ["–", false]])
    );
    page.ends_well().await;
}
