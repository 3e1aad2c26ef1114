//! What errors of JetStream mean in a cluster: which of them pass, and what to do about the others.
//!
//! A stream with several replicas has a leader, which answers every request about it. While the leader is elected, for a few
//! seconds, and while fewer than half of the replicas are reachable, for as long as that lasts, requests time out or are refused.
//! Nothing that was confirmed is lost by that.

use std::{error::Error, time::Duration};

use async_nats::jetstream::{
    self, ErrorCode,
    context::{ConsumerInfoError, ConsumerInfoErrorKind, RequestError, RequestErrorKind},
    context::{CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind},
    stream::{
        ConsumerCreateStrictError, ConsumerCreateStrictErrorKind, ConsumerError, ConsumerErrorKind,
        ConsumerUpdateError, ConsumerUpdateErrorKind, Info, PurgeError, PurgeErrorKind,
        RawMessageError, RawMessageErrorKind,
    },
};

/// Why JetStream does not do what was requested, if that is due to its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// There is no leader at present. Passes once more than half of the replicas are reachable.
    #[error(
        "the broker's cluster has no leader at the moment: more than half of its servers must be running and reach each other"
    )]
    NoLeader,
    /// There was no answer in time. In a cluster, the leader may just have ended.
    #[error(
        "JetStream did not answer in time: the broker is busy, or its cluster is about to elect a leader"
    )]
    Silent,
    /// Too few servers can keep the requested number of replicas. Passes if servers join, or are given space.
    #[error(
        "too few servers of the broker's cluster can keep that many replicas: start those that are down, add servers or disk space to the cluster, or lower --stream-replicas"
    )]
    TooFewServers,
    /// The servers have no memory or disk space left. Passes if they are given more.
    #[error(
        "the broker's servers have no memory or disk space left for this: give JetStream more of it, or add servers to the cluster"
    )]
    NoResources,
    /// The broker is a single server. Does not pass.
    #[error(
        "the broker is a single server, which keeps one replica: give the addresses of a cluster with at least as many servers, or start with --stream-replicas 1"
    )]
    NoCluster,
    /// The stream's own part of the cluster does not work at present.
    #[error(
        "the stream is offline: a server of the broker's cluster cannot use its part of it; its log has the reason"
    )]
    Offline,
}

impl ClusterError {
    /// What an error of the client means, if it is due to the cluster.
    #[must_use]
    pub fn of(err: &(dyn Error + 'static)) -> Option<Self> {
        let (mut cause, mut found) = (Some(err), None);
        while let Some(err) = cause {
            found = Answer::of(err).and_then(Self::of_answer).or(found);
            cause = err.source();
        }
        found
    }

    /// What an error in an answer of JetStream means.
    #[must_use]
    pub fn of_code(code: ErrorCode) -> Option<Self> {
        match code {
            ErrorCode::CLUSTER_NOT_AVAILABLE
            | ErrorCode::CLUSTER_NOT_LEADER
            | ErrorCode::CLUSTER_NOT_ACTIVE
            | ErrorCode::CLUSTER_NOT_ASSIGNED
            | ErrorCode::RAFT_GENERAL
            | ErrorCode::PEER_REMAP
            | ErrorCode::CLUSTER_SERVER_MEMBER_CHANGE_INFLIGHT => Some(Self::NoLeader),
            ErrorCode::CLUSTER_NO_PEERS | ErrorCode::CLUSTER_INCOMPLETE => {
                Some(Self::TooFewServers)
            }
            ErrorCode::INSUFFICIENT_RESOURCES => Some(Self::NoResources),
            ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED => Some(Self::NoCluster),
            ErrorCode::STREAM_OFFLINE
            | ErrorCode::STREAM_OFFLINE_REASON
            | ErrorCode::CONSUMER_OFFLINE
            | ErrorCode::CONSUMER_OFFLINE_REASON => Some(Self::Offline),
            _ => None,
        }
    }

    fn of_answer(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Code(code) => Self::of_code(code),
            Answer::Missing => Some(Self::Silent),
        }
    }
}

/// How JetStream answered a request.
#[derive(Clone, Copy)]
enum Answer {
    /// With an error.
    Code(ErrorCode),
    /// Not in time.
    Missing,
}

impl Answer {
    /// Each kind of request has its own type of error, and most of them carry the answer in their kind.
    fn of(err: &(dyn Error + 'static)) -> Option<Self> {
        macro_rules! find {
            ($($error:ty: $kind:ident $(, $missing:ident)?;)*) => {
                $(if let Some(err) = err.downcast_ref::<$error>() {
                    return match err.kind() {
                        $kind::JetStream(err) => Some(Self::Code(err.error_code())),
                        $($kind::$missing => Some(Self::Missing),)?
                        _ => None,
                    };
                })*
            };
        }
        if let Some(err) = err.downcast_ref::<jetstream::Error>() {
            return Some(Self::Code(err.error_code()));
        }
        if let Some(err) = err.downcast_ref::<RequestError>() {
            return (err.kind() == RequestErrorKind::TimedOut).then_some(Self::Missing);
        }
        find! {
            CreateStreamError: CreateStreamErrorKind, TimedOut;
            GetStreamError: GetStreamErrorKind;
            ConsumerInfoError: ConsumerInfoErrorKind, TimedOut;
            ConsumerError: ConsumerErrorKind, TimedOut;
            ConsumerCreateStrictError: ConsumerCreateStrictErrorKind, TimedOut;
            ConsumerUpdateError: ConsumerUpdateErrorKind, TimedOut;
            PurgeError: PurgeErrorKind, TimedOut;
            RawMessageError: RawMessageErrorKind;
        }
        None
    }
}

/// How long a follower may be silent. It answers its leader every second.
const SILENCE: Duration = Duration::from_secs(5);

/// Which replicas of a stream are not reachable from its leader, in human-readable form; `None` if all are. A leader that was just
/// elected has not heard from the others yet.
#[must_use]
pub fn missing_replicas(info: &Info) -> Option<String> {
    let followers = info.cluster.iter().flat_map(|cluster| &cluster.replicas);
    let missing = followers.filter(|peer| {
        // The time is 0 if the leader has never heard from it.
        let is_silent = peer.active.is_zero() || peer.active > SILENCE;
        peer.offline || !peer.current && is_silent
    });
    let names: Vec<_> = missing.map(|peer| peer.name.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    Some(format!(
        "{} of {} replicas of the stream are not reachable: start {}; without more than half of them, nothing is published or stored",
        names.len(),
        info.config.num_replicas,
        names.join(", ")
    ))
}

/// Why a request failed, in human-readable form.
#[must_use]
pub fn reason(err: &async_nats::Error) -> String {
    let known = ClusterError::of(&**err);
    known.map_or_else(|| err.to_string(), |known| known.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u64, code: u64) -> jetstream::Error {
        let answer = json!({ "code": status, "err_code": code, "description": "of the broker" });
        serde_json::from_value(answer).unwrap()
    }

    #[test]
    fn errors_of_a_cluster_are_found_in_every_request() {
        let no_leader = || answer(503, 10008);
        let errors: [async_nats::Error; 8] = [
            Box::new(CreateStreamError::from(no_leader())),
            Box::new(GetStreamError::new(GetStreamErrorKind::JetStream(
                no_leader(),
            ))),
            Box::new(RequestError::from(no_leader())),
            Box::new(ConsumerInfoError::new(ConsumerInfoErrorKind::JetStream(
                no_leader(),
            ))),
            Box::new(ConsumerError::from(no_leader())),
            Box::new(ConsumerCreateStrictError::from(no_leader())),
            Box::new(PurgeError::new(PurgeErrorKind::JetStream(no_leader()))),
            Box::new(RawMessageError::new(RawMessageErrorKind::JetStream(
                no_leader(),
            ))),
        ];
        for err in errors {
            assert_eq!(
                ClusterError::of(&*err),
                Some(ClusterError::NoLeader),
                "{err}"
            );
            assert!(reason(&err).contains("no leader"), "{err}");
        }
    }

    #[test]
    fn a_missing_answer_is_found_below_the_error_of_its_request() {
        let silent = RequestError::new(RequestErrorKind::TimedOut);
        let below = GetStreamError::with_source(GetStreamErrorKind::Request, silent);
        assert_eq!(ClusterError::of(&below), Some(ClusterError::Silent));
        let direct = CreateStreamError::new(CreateStreamErrorKind::TimedOut);
        assert_eq!(ClusterError::of(&direct), Some(ClusterError::Silent));
    }

    #[test]
    fn other_errors_keep_their_words() {
        let not_found: async_nats::Error = Box::new(CreateStreamError::from(answer(400, 10052)));
        assert_eq!(ClusterError::of(&*not_found), None);
        assert!(reason(&not_found).contains("of the broker"), "{not_found}");
    }

    #[test]
    fn replicas_that_are_not_reachable_are_named() {
        let info = |follower: serde_json::Value| -> Info {
            serde_json::from_value(json!({
                "config": {
                    "name": "EVENTS", "retention": "limits", "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0,
                    "max_msgs_per_subject": -1, "storage": "file", "num_replicas": 3, "discard": "new",
                },
                "created": "2026-01-31T12:00:00Z",
                "state": {
                    "messages": 0, "bytes": 0, "first_seq": 1, "first_ts": "2026-01-31T12:00:00Z",
                    "last_seq": 0, "last_ts": "2026-01-31T12:00:00Z", "consumer_count": 0,
                },
                "cluster": {
                    "name": "c", "leader": "nats-1",
                    "replicas": [{ "name": "nats-2", "current": true, "active": 1 }, follower],
                },
            }))
            .unwrap()
        };
        for (current, active, is_missing) in [
            (true, 900_000_000_u64, false),
            // Behind, and catching up.
            (false, 900_000_000, false),
            (false, 9_000_000_000, true),
            (false, 0, true),
        ] {
            let follower = json!({ "name": "nats-3", "current": current, "active": active });
            let missing = missing_replicas(&info(follower));
            assert_eq!(missing.is_some(), is_missing, "{current} {active}");
            if let Some(missing) = missing {
                assert!(missing.starts_with("1 of 3 replicas"), "{missing}");
                assert!(missing.contains("start nats-3;"), "{missing}");
            }
        }
    }

    #[test]
    fn each_code_has_its_remedy() {
        let of = |code| ClusterError::of_code(ErrorCode(code));
        for code in [10006, 10007, 10008, 10009, 10041, 10075] {
            assert_eq!(of(code), Some(ClusterError::NoLeader), "{code}");
        }
        for code in [10004, 10005] {
            assert_eq!(of(code), Some(ClusterError::TooFewServers), "{code}");
        }
        assert_eq!(of(10023), Some(ClusterError::NoResources));
        assert_eq!(of(10074), Some(ClusterError::NoCluster));
        assert_eq!(of(10118), Some(ClusterError::Offline));
        assert_eq!(of(10059), None);
    }
}
