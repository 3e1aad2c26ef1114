//! The summary as text.

use std::fmt;

use indicatif::{HumanCount, HumanFloatCount};

use super::{AggregatorCounts, Percentiles, Requests, Summary, Verification};
use crate::progress::rate;

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.1} ms, p99 {:.1} ms", self.p50, self.p99)
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connections,
            per_second,
            answer_ms,
            ..
        } = self;
        write!(
            f,
            "{} requests/s over {} connections, answers {answer_ms}",
            HumanFloatCount(per_second.round()),
            HumanCount(u64::from(*connections))
        )
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            unique,
            duplicates,
            seconds,
            ..
        } = self;
        let [sent, unique, duplicates] = [*sent, *unique, *duplicates].map(HumanCount);
        let stopped = if self.complete { "" } else { "stopped: " };
        write!(
            f,
            "{stopped}sent {sent} events ({unique} unique, {duplicates} duplicates) in {seconds:.2} s: "
        )?;
        f.write_str(&rate(self.events_per_second))?;
        if let Some(puback_ms) = &self.puback_ms {
            write!(f, ", PubAck {puback_ms}")?;
        }
        if let Some(requests) = &self.requests {
            write!(f, ", {requests}")?;
        }
        if self.unconfirmed > 0 {
            let unconfirmed = HumanCount(self.unconfirmed);
            write!(
                f,
                "\n{unconfirmed} more events are not confirmed: they may or may not be in the stream"
            )?;
        }
        if let Some(error) = &self.error {
            write!(f, "\nerror: {error}")?;
        }
        if let Some(skipped @ 1..) = self.skipped_invalid {
            write!(f, "\nskipped {} invalid events", HumanCount(skipped))?;
        }
        if self.possibly_doubled > 0 {
            let doubled = HumanCount(self.possibly_doubled);
            write!(
                f,
                "\nthe stream may contain up to {doubled} additional copies: events were sent again because no confirmation arrived in time"
            )?;
        }
        match &self.verification {
            Some(verification) => write!(f, "\n{verification}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.verified {
            "verified"
        } else {
            "NOT VERIFIED"
        })?;
        if let Some(counted) = &self.counted {
            let AggregatorCounts {
                received,
                unique_processed,
                duplicate_dropped,
                stored_before,
                ..
            } = counted;
            let [received, unique, duplicates] =
                [*received, *unique_processed, *duplicate_dropped].map(HumanCount);
            write!(
                f,
                ": received {received}, unique {unique}, duplicates {duplicates}"
            )?;
            if *stored_before > 0 && self.verified {
                write!(f, " ({} stored before)", HumanCount(*stored_before))?;
            }
            write!(
                f,
                "; {} until all was applied",
                rate(counted.processed_per_second)
            )?;
        }
        self.problems
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}
