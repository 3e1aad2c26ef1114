//! The metric families of one response: those recorded continuously, and those read for the response.

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// The metric families of a response, in the order in which they were added.
#[derive(Debug)]
pub(super) struct Exposition(Vec<MetricFamily>);

impl Exposition {
    pub fn new(measured: Vec<MetricFamily>) -> Self {
        Self(measured)
    }

    pub fn counter(&mut self, name: &str, help: &str, total: u64) {
        let metric = of(MetricType::COUNTER, real(total), None);
        self.add(MetricType::COUNTER, name, help, vec![metric]);
    }

    /// A counter with one total for each value of `label`.
    pub fn counters(&mut self, name: &str, help: &str, label: &str, totals: &[(&str, u64)]) {
        self.labelled(MetricType::COUNTER, name, help, label, totals);
    }

    pub fn gauge(&mut self, name: &str, help: &str, figure: u64) {
        self.real_gauge(name, help, real(figure));
    }

    pub fn real_gauge(&mut self, name: &str, help: &str, figure: f64) {
        let metric = of(MetricType::GAUGE, figure, None);
        self.add(MetricType::GAUGE, name, help, vec![metric]);
    }

    /// A gauge with one figure for each value of `label`.
    pub fn gauges(&mut self, name: &str, help: &str, label: &str, figures: &[(&str, u64)]) {
        self.labelled(MetricType::GAUGE, name, help, label, figures);
    }

    /// A gauge that is always 1, with `text` as the value of `label`.
    pub fn info(&mut self, name: &str, help: &str, label: &str, text: &str) {
        self.gauges(name, help, label, &[(text, 1)]);
    }

    /// All families, sorted by name.
    pub fn into_families(self) -> Vec<MetricFamily> {
        let Self(mut families) = self;
        families.sort_by(|one, other| one.name().cmp(other.name()));
        families
    }

    fn labelled(
        &mut self,
        kind: MetricType,
        name: &str,
        help: &str,
        label: &str,
        figures: &[(&str, u64)],
    ) {
        let metric = |(value, figure): &(&str, u64)| of(kind, real(*figure), Some((label, value)));
        self.add(kind, name, help, figures.iter().map(metric).collect());
    }

    fn add(&mut self, kind: MetricType, name: &str, help: &str, metrics: Vec<Metric>) {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}

fn of(kind: MetricType, figure: f64, label: Option<(&str, &str)>) -> Metric {
    let mut metric = Metric::default();
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(figure);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(figure);
        metric.set_gauge(gauge);
    }
    if let Some((name, value)) = label {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        metric.set_label(vec![pair]);
    }
    metric
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus has only floating-point numbers; they are exact up to 2^53"
)]
fn real(figure: u64) -> f64 {
    figure as f64
}
