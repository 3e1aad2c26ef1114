//! The stream's largest size and its replicas, brought to what settings say without losing a message.
//!
//! Two aggregators may share the stream with different settings. Each raises what is too small for it; only one that is alone on
//! the stream lowers it, so the larger settings stay and nothing changes back and forth.

use async_nats::jetstream::{
    self,
    stream::{Config, Info},
};
use tracing::info;

use super::{LARGEST_MESSAGE, Settings, StreamError, get};

/// The part of the wanted size that has to be free before the stream is lowered to it.
const ROOM_SHARE: u64 = 8;

/// Whether settings ask for less than the stream has; [`resize`] has to know then who shares the stream.
#[must_use]
pub fn is_above(info: &Info, settings: &Settings) -> bool {
    limit(info.config.max_bytes) > settings.max_bytes
        || info.config.num_replicas > settings.replicas
}

/// Whether settings ask for more than the stream has.
#[must_use]
pub fn is_below(info: &Info, settings: &Settings) -> bool {
    limit(info.config.max_bytes) < settings.max_bytes
        || info.config.num_replicas < settings.replicas
}

/// The most bytes that a stream may hold when it is lowered to the size of settings: messages come while it is updated.
#[must_use]
pub fn most_held(settings: &Settings) -> u64 {
    let wanted = u64::try_from(settings.max_bytes).unwrap_or(0);
    wanted.saturating_sub((wanted / ROOM_SHARE).max(LARGEST_MESSAGE as u64))
}

/// Updates the stream's largest size and replicas where that is possible now. Returns what could not be lowered yet and why, for
/// people. `sharer` names another store on the stream.
///
/// # Errors
/// As [`StreamError`] tells.
pub async fn resize(
    jetstream: &jetstream::Context,
    info: &Info,
    settings: &Settings,
    sharer: Option<&str>,
) -> Result<Option<String>, StreamError> {
    let planned = plan(&info.config, info.state.bytes, settings, sharer);
    if is_same(&info.config, &planned) {
        return Ok(planned.notice);
    }
    // Messages came since the stream was looked at, and its configuration may be another one.
    let stream = get(jetstream, &settings.name).await?;
    let info = stream.cached_info();
    let found = &info.config;
    let planned = plan(found, info.state.bytes, settings, sharer);
    if !is_same(found, &planned) {
        let wanted = Config {
            // Unlimited is written in several ways.
            max_bytes: if limit(found.max_bytes) == planned.max_bytes {
                found.max_bytes
            } else {
                planned.max_bytes
            },
            num_replicas: planned.replicas,
            ..found.clone()
        };
        let updated = jetstream.update_stream(&wanted).await;
        updated.map_err(|err| StreamError::Broker(err.into()))?;
        info!(
            stream.name = found.name,
            stream.max_bytes = wanted.max_bytes,
            stream.replicas = wanted.num_replicas,
            "updated the stream"
        );
    }
    Ok(planned.notice)
}

#[derive(Debug, PartialEq, Eq)]
struct Plan {
    max_bytes: i64,
    replicas: usize,
    notice: Option<String>,
}

fn is_same(found: &Config, planned: &Plan) -> bool {
    limit(found.max_bytes) == planned.max_bytes && found.num_replicas == planned.replicas
}

fn plan(found: &Config, held: u64, settings: &Settings, sharer: Option<&str>) -> Plan {
    let limit = limit(found.max_bytes);
    let mut plan = Plan {
        max_bytes: settings.max_bytes,
        replicas: settings.replicas,
        notice: None,
    };
    let most = most_held(settings);
    if settings.max_bytes < limit {
        let size = format!(
            "the stream keeps its maximum size of {limit} bytes instead of {}",
            settings.max_bytes
        );
        if let Some(sharer) = sharer {
            plan.notice = Some(format!(
                "{size}: {sharer} shares the stream; start all aggregators with the same --stream-max-bytes"
            ));
        } else if held > most {
            // Some brokers would delete the oldest messages to fit.
            plan.notice = Some(format!(
                "{size}: it holds too much; the maximum is lowered once enough is applied and trimmed"
            ));
        }
        if plan.notice.is_some() {
            plan.max_bytes = limit;
        }
    }
    if let Some(sharer) = sharer
        && settings.replicas < found.num_replicas
    {
        plan.replicas = found.num_replicas;
        plan.notice.get_or_insert_with(|| {
            format!(
                "the stream keeps {} replicas instead of {}: {sharer} shares the stream; start all aggregators with the same --stream-replicas",
                found.num_replicas, settings.replicas
            )
        });
    }
    plan
}

/// A size as the broker has it; 0 and less is unlimited.
fn limit(max_bytes: i64) -> i64 {
    if max_bytes > 0 { max_bytes } else { i64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::DEFAULT_NAME;

    const MEBIBYTE: i64 = 1024 * 1024;

    fn settings(max_bytes: i64, replicas: usize) -> Settings {
        Settings {
            name: DEFAULT_NAME.to_owned(),
            max_bytes,
            replicas,
        }
    }

    /// Of a stream that two settings were made for, one after the other: its size and replicas, and whether there is a notice.
    fn planned(
        found: (i64, usize),
        wanted: (i64, usize),
        held: i64,
        sharer: Option<&str>,
    ) -> (i64, usize, bool) {
        let found = settings(found.0, found.1).config();
        let held = u64::try_from(held).unwrap();
        let plan = plan(&found, held, &settings(wanted.0, wanted.1), sharer);
        (plan.max_bytes, plan.replicas, plan.notice.is_some())
    }

    #[test]
    fn a_lowered_limit_leaves_room_for_what_comes_while_the_stream_is_updated() {
        for (wanted, most) in [(4, 3), (8, 7), (16, 14), (64, 56)] {
            let (wanted, most) = (wanted * MEBIBYTE, most * MEBIBYTE);
            let lowered = |held| planned((90 * MEBIBYTE, 1), (wanted, 1), held, None);
            let kept = (90 * MEBIBYTE, 1, true);
            assert_eq!(lowered(0), (wanted, 1, false));
            assert_eq!(lowered(most), (wanted, 1, false));
            assert_eq!(lowered(most + 1), kept);
            assert_eq!(lowered(89 * MEBIBYTE), kept);
        }
    }

    #[test]
    fn a_stream_without_a_limit_gets_one_once_it_fits() {
        let limited = |held| planned((-1, 1), (8 * MEBIBYTE, 1), held, None);
        assert_eq!(limited(7 * MEBIBYTE), (8 * MEBIBYTE, 1, false));
        assert_eq!(limited(8 * MEBIBYTE), (i64::MAX, 1, true));
    }

    #[test]
    fn a_limit_is_raised_whoever_shares_the_stream() {
        for sharer in [None, Some("another store")] {
            let raised = planned((10 * MEBIBYTE, 1), (90 * MEBIBYTE, 3), MEBIBYTE, sharer);
            assert_eq!(raised, (90 * MEBIBYTE, 3, false));
        }
    }

    #[test]
    fn two_aggregators_with_different_settings_agree_on_the_larger_ones() {
        let (small, large) = ((10 * MEBIBYTE, 1), (90 * MEBIBYTE, 3));
        let mut found = small;
        let mut updates = 0;
        for wanted in [small, large, small, large, small] {
            let (max_bytes, replicas, _) = planned(found, wanted, 0, Some("the other store"));
            updates += u32::from(found != (max_bytes, replicas));
            found = (max_bytes, replicas);
        }
        assert_eq!((found, updates), (large, 1));
        // And the one that is left brings it to its own.
        assert_eq!(planned(found, small, 0, None), (10 * MEBIBYTE, 1, false));
    }
}
