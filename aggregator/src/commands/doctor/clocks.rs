//! The clocks of the aggregator and of the broker, compared with the one of this machine.

use serde::Serialize;

use super::finding::Finding;
use crate::consumer::survey::Reading;

/// How far two clocks may be apart, in milliseconds. Machines that keep their time stay within a fraction of it.
const TOLERANCE_MS: i64 = 2_000;

/// The clocks that could be read.
#[derive(Debug, Default, Serialize)]
pub(super) struct Clocks {
    pub aggregator: Option<Offset>,
    pub broker: Option<Offset>,
}

/// How far another clock is ahead of the one of this machine; negative if it is behind.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Offset {
    pub ahead_ms: i64,
    /// The error of the measurement.
    pub within_ms: i64,
}

impl From<Reading> for Offset {
    fn from(reading: Reading) -> Self {
        Self {
            ahead_ms: reading.theirs.saturating_sub(reading.ours) / 1_000,
            within_ms: reading.within / 1_000 + 1,
        }
    }
}

impl Offset {
    fn is_off(self) -> bool {
        self.ahead_ms.saturating_abs() > self.within_ms.saturating_add(TOLERANCE_MS)
    }
}

impl Clocks {
    /// The clocks that differ from the one of this machine, which may itself be wrong.
    pub fn findings(&self) -> Vec<Finding> {
        let clocks = [
            ("the aggregator", self.aggregator),
            ("the broker", self.broker),
        ];
        let off = clocks.into_iter().filter_map(|(whose, offset)| {
            let offset = offset.filter(|offset| offset.is_off())?;
            let seconds = offset.ahead_ms.abs() / 1_000;
            let direction = if offset.ahead_ms > 0 { "ahead of" } else { "behind" };
            Some(Finding::new(
                "clocks",
                format!("the clock of {whose} is {seconds} s {direction} the one of this machine"),
                "let a time service, such as chrony or systemd-timesyncd, set the clocks of all machines",
            ))
        });
        off.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(ahead_ms: i64, within_ms: i64) -> Vec<String> {
        let clocks = Clocks {
            aggregator: None,
            broker: Some(Offset {
                ahead_ms,
                within_ms,
            }),
        };
        let found = clocks.findings().into_iter();
        found.map(|finding| finding.problem).collect()
    }

    #[test]
    fn a_clock_is_off_if_the_measurement_cannot_explain_it() {
        assert!(findings(1_900, 1).is_empty());
        assert!(findings(-6_000, 5_000).is_empty());
        let behind = findings(-60_500, 10);
        assert_eq!(
            behind,
            ["the clock of the broker is 60 s behind the one of this machine"]
        );
        assert!(findings(5_000, 10)[0].contains("5 s ahead of"));
    }
}
