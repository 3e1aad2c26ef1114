//! Charts: their scale and their times.

use e2e::{
    System,
    browser::Display,
    event::events,
    wait::{eventually, holds},
};

use super::Page;

const PRESSED: &str = "#scale [aria-pressed=true]";
const SCALE: &str = "#chart-commits figcaption .note";

#[tokio::test]
async fn the_scale_is_chosen_for_all_charts_and_kept_for_the_session() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..100)).await;
    let Some(page) = Page::open(system.api(), "?topic=orders").await else {
        return;
    };
    let browser = &page.browser;
    // A new session has the scale that fits the values.
    page.lists(PRESSED, &["Automatic"]).await;
    browser.click("#scale [value=logarithmic]").await;
    page.lists(PRESSED, &["Logarithmic"]).await;
    page.lists(SCALE, &["logarithmic scale"]).await;
    // Each label is a power of ten, or zero.
    eventually("the labels are powers of ten", async || {
        let ticks = page.texts("#chart-topic .ticks span").await;
        holds(ticks == ["100", "10", "0"], &ticks)
    })
    .await;
    browser.screenshot_of_page("logarithmic").await;
    browser.reload().await;
    page.lists(PRESSED, &["Logarithmic"]).await;
    page.lists(SCALE, &["logarithmic scale"]).await;
    browser.click("#scale [value=linear]").await;
    page.lists(PRESSED, &["Linear"]).await;
    page.lists(SCALE, &[""]).await;
    browser.screenshot_of_page("linear").await;
    page.ends_well().await;
}

#[tokio::test]
async fn the_axis_has_the_times_of_the_readers_clock() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..100)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    page.browser.set_time_zone("Asia/Kolkata").await;
    page.browser
        .open(&format!("{}/?topic=orders", system.api().url()))
        .await;
    page.lists("#zone", &["GMT+5:30"]).await;
    // Five minutes have at least four such times, an hour at least five.
    for (chart, minutes, least) in [("chart-events", 1, 4), ("chart-topic", 10, 5)] {
        page.browser
            .until(&format!(
                "document.querySelectorAll('#{chart} .axis span').length >= {least}"
            ))
            .await;
        let now =
            "return new Date().toLocaleTimeString('en-GB', {hour: '2-digit', minute: '2-digit'})";
        let now = page.browser.run(now, Vec::new()).await;
        let now = minute_of_day(now.as_str().unwrap());
        let times = page.texts(&format!("#{chart} .axis span")).await;
        let times: Vec<_> = times.iter().map(|time| minute_of_day(time)).collect();
        for pair in times.windows(2) {
            assert_eq!((pair[1] + DAY - pair[0]) % DAY, minutes, "{times:?}");
        }
        assert!(times.iter().all(|time| time % minutes == 0), "{times:?}");
        let age = (now + DAY - times.last().unwrap()) % DAY;
        assert!(age <= 2 * minutes, "{times:?} at {now}");
    }
    page.ends_well().await;
}

#[tokio::test]
async fn labels_are_next_to_the_lines_and_long_durations_are_in_seconds() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..100)).await;
    let Some(page) = Page::open(system.api(), "?topic=orders").await else {
        return;
    };
    for (milliseconds, text) in [
        (0.25, "0.3 ms"),
        (12.0, "12.0 ms"),
        (150.0, "150 ms"),
        (999.9, "1 s"),
        (1500.0, "1.5 s"),
    ] {
        let script =
            "return import('/page/dom.js').then(({ milliseconds }) => milliseconds(arguments[0]))";
        let found = page.browser.run(script, vec![milliseconds.into()]).await;
        assert_eq!(found, text);
    }
    let ticks = "return Promise.all([import('/page/dom.js'), import('/page/scale.js')]).then(([{ milliseconds }, { scaleOf }]) =>\
        scaleOf([2000], milliseconds, 'linear').ticks.map(({ text }) => text))";
    let ticks = page.browser.run(ticks, Vec::new()).await;
    assert_eq!(ticks, serde_json::json!(["2 s", "1 s"]));
    for display in [
        Display::WIDE,
        Display::LAPTOP,
        Display::TABLET,
        Display::NARROW,
    ] {
        page.browser.set_display(display).await;
        for chart in ["chart-events", "chart-topic"] {
            let is_apart = format!(
                "(chart => {{ const ticks = [...chart.querySelectorAll('.ticks span')].map(tick => tick.getBoundingClientRect());\
                 return ticks.length > 0\
                   && ticks.every(({{ right }}) => right <= chart.querySelector('svg').getBoundingClientRect().left)\
                   && ticks.every(({{ left }}) => left >= chart.getBoundingClientRect().left); }})\
                 (document.getElementById('{chart}'))"
            );
            page.browser.until(&is_apart).await;
            // The times on the axis do not run into each other.
            let are_apart = format!(
                "(times => times.length > 1 && times.every((time, index) => index === 0 || time.left > times[index - 1].right))\
                 ([...document.querySelectorAll('#{chart} .axis span')].map(time => time.getBoundingClientRect()).filter(({{ width }}) => width > 0))"
            );
            page.browser.until(&are_apart).await;
        }
    }
    page.ends_well().await;
}

#[tokio::test]
async fn a_logarithmic_scale_has_a_label_at_zero_below_the_others() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let script = "const [values] = arguments;
        return import('/page/scale.js').then(({ scaleOf }) => {
          const { height, ticks } = scaleOf(values, String, 'logarithmic');
          return [height(0), ticks.map(({ text, height }) => [text, height])];
        })";
    let ticks = async |values: &[f64]| {
        let found = page.browser.run(script, vec![values.into()]).await;
        serde_json::from_value::<(f64, Vec<(String, f64)>)>(found).expect("ticks")
    };
    let (zero, labels) = ticks(&[0.0, 3.0, 900.0]).await;
    let texts: Vec<_> = labels.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(texts, ["1000", "100", "10", "1", "0"]);
    let heights: Vec<_> = labels.iter().map(|(_, height)| *height).collect();
    assert!((heights[4] - zero).abs() < f64::EPSILON, "{heights:?}");
    // It is no closer to the next than a line of text is high, in per cent of the chart.
    assert!(heights[4] - heights[3] > 13.0, "{heights:?}");
    // There is none if no value is zero.
    let (_, labels) = ticks(&[3.0, 900.0]).await;
    assert_eq!(labels.last().expect("a label").0, "1");
    page.ends_well().await;
}

const DAY: u32 = 24 * 60;

fn minute_of_day(time: &str) -> u32 {
    let (hour, minute) = time.split_once(':').expect("hour and minute");
    hour.parse::<u32>().expect("an hour") * 60 + minute.parse::<u32>().expect("a minute")
}
