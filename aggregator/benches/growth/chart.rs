//! The chart: the rates of the contenders as the store grows.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::{report::Run, settings::Contender};

const SIZE: (u32, u32) = (900, 540);

/// Draws the runs into a file.
pub fn draw(file: &Path, runs: &[Run]) -> anyhow::Result<()> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    plot(&root, runs).map_err(|err| anyhow!("{err}"))
}

fn plot<B: DrawingBackend>(
    root: &DrawingArea<B, plotters::coord::Shift>,
    runs: &[Run],
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let points = || runs.iter().flat_map(|run| &run.tenths);
    let most = points()
        .map(|tenth| millions(tenth.events))
        .fold(0.0, f64::max);
    let fastest = points().map(|tenth| tenth.rate).max().unwrap_or(1);
    let slowest = points().map(|tenth| tenth.rate).min().unwrap_or(1);
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(root)
        .caption(
            "Events appended a second while the store grows",
            ("sans-serif", 20),
        )
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(76)
        .build_cartesian_2d(
            0.0..most,
            (f64::from(slowest) * 0.7..f64::from(fastest) * 1.4).log_scale(),
        )?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("events, duplicates included (millions)")
        .y_desc("thousand events a second (logarithmic)")
        .x_label_formatter(&|events| ((events * 1e3).round() / 1e3).to_string())
        .y_label_formatter(&|rate| format!("{:.0}", rate / 1e3))
        .draw()?;
    let mut labelled = Vec::new();
    for run in runs {
        let style = colour(run.contender).stroke_width(2);
        let line = run
            .tenths
            .iter()
            .map(|tenth| (millions(tenth.events), f64::from(tenth.rate)));
        let drawn = chart.draw_series(LineSeries::new(line, style).point_size(3))?;
        // Several runs of a contender are lines of one colour.
        if !labelled.contains(&run.contender) {
            labelled.push(run.contender);
            drawn
                .label(run.contender)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()
}

fn colour(contender: &str) -> RGBColor {
    if contender == Contender::Store.name() {
        RGBColor(0, 114, 178)
    } else if contender == Contender::UniqueIndex.name() {
        RGBColor(213, 94, 0)
    } else {
        RGBColor(110, 110, 110)
    }
}

/// In units of a thousand events, which is exact enough for a chart.
fn millions(events: u64) -> f64 {
    f64::from(u32::try_from(events / 1_000).unwrap_or(u32::MAX)) / 1e3
}
