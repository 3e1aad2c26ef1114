//! Updates of the stream's maximum size and replicas to the settings, without losing a message.
//!
//! More replicas need more servers of the broker's cluster. While it has too few, the stream keeps those it has.
//!
//! Two aggregators may share the stream with different settings. Each raises values that are too small for it, but lowers
//! them only if it does not share the stream. So the larger settings win, and the values do not alternate.

use async_nats::jetstream::{
    self,
    stream::{Config, Info},
};
use tracing::info;

use super::{ClusterError, LARGEST_MESSAGE, Settings, StreamError, get};

/// Divisor for the share of the new size that must be free before the stream's size is lowered to it.
const ROOM_SHARE: u64 = 8;

/// Whether the settings are below the stream's values; [`resize`] then needs to know who shares the stream.
#[must_use]
pub fn is_above(info: &Info, settings: &Settings) -> bool {
    limit(info.config.max_bytes) > settings.max_bytes
        || info.config.num_replicas > settings.replicas
}

/// Whether the settings are above the stream's values.
#[must_use]
pub fn is_below(info: &Info, settings: &Settings) -> bool {
    limit(info.config.max_bytes) < settings.max_bytes
        || info.config.num_replicas < settings.replicas
}

/// The most bytes that the stream may hold when its size is lowered to the settings. The rest is reserved for messages that
/// arrive during the update.
#[must_use]
pub fn most_held(settings: &Settings) -> u64 {
    let wanted = u64::try_from(settings.max_bytes).unwrap_or(0);
    wanted.saturating_sub((wanted / ROOM_SHARE).max(LARGEST_MESSAGE as u64))
}

/// Updates the stream's maximum size and replicas as far as possible now. Returns a notice about any value that could not be
/// lowered yet, or about replicas that the cluster has too few servers for, with the reason. `sharer` names another store that
/// uses the stream.
///
/// # Errors
/// Any [`StreamError`]; [`ClusterError::NoCluster`] if the broker can never keep the requested number of replicas.
pub async fn resize(
    jetstream: &jetstream::Context,
    info: &Info,
    settings: &Settings,
    sharer: Option<&str>,
) -> Result<Option<String>, StreamError> {
    // A single server has no cluster's name. 2.14.0 takes any number of replicas for a stream that exists.
    let cluster = info.cluster.as_ref();
    if settings.replicas > 1 && cluster.is_none_or(|cluster| cluster.name.is_none()) {
        return Err(ClusterError::NoCluster.into());
    }
    let planned = plan(&info.config, info.state.bytes, settings, sharer);
    if is_same(&info.config, &planned) {
        return Ok(planned.notice);
    }
    // Messages may have arrived and the configuration may have changed since `info` was read.
    let stream = get(jetstream, &settings.name).await?;
    let info = stream.cached_info();
    let found = &info.config;
    let planned = plan(found, info.state.bytes, settings, sharer);
    let sized = Config {
        // Unlimited has several representations.
        max_bytes: if limit(found.max_bytes) == planned.max_bytes {
            found.max_bytes
        } else {
            planned.max_bytes
        },
        ..found.clone()
    };
    if sized.max_bytes != found.max_bytes {
        update(jetstream, &sized).await?;
    }
    // By itself, because a cluster with too few servers for the replicas can change the size.
    if planned.replicas == found.num_replicas {
        return Ok(planned.notice);
    }
    let replicated = Config {
        num_replicas: planned.replicas,
        ..sized
    };
    match update(jetstream, &replicated).await {
        Err(StreamError::Cluster(
            reason @ (ClusterError::TooFewServers | ClusterError::NoResources),
        )) => {
            let (kept, wanted) = (found.num_replicas, planned.replicas);
            let replicas = format!("the stream keeps {kept} of {wanted} replicas: {reason}");
            let notices: Vec<_> = planned.notice.into_iter().chain([replicas]).collect();
            Ok(Some(notices.join("; ")))
        }
        updated => updated.map(|()| planned.notice),
    }
}

async fn update(jetstream: &jetstream::Context, wanted: &Config) -> Result<(), StreamError> {
    let updated = jetstream.update_stream(wanted).await;
    updated.map_err(StreamError::of_request)?;
    info!(
        stream.name = wanted.name,
        stream.max_bytes = wanted.max_bytes,
        stream.replicas = wanted.num_replicas,
        "updated the stream"
    );
    Ok(())
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
            // Some brokers would delete the oldest messages to make it fit.
            plan.notice = Some(format!(
                "{size}: it holds too much; the maximum will be lowered once enough messages are applied and trimmed"
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

/// Normalizes a size limit of the broker, in which 0 or less means unlimited.
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

    /// The size and replicas of a stream configured for `found` and then planned for `wanted`, and whether there is a notice.
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
    fn a_lowered_limit_leaves_room_for_messages_that_arrive_during_the_update() {
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
    fn a_limit_is_raised_even_if_the_stream_is_shared() {
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
        // An aggregator that is alone again lowers it to its own settings.
        assert_eq!(planned(found, small, 0, None), (10 * MEBIBYTE, 1, false));
    }
}
