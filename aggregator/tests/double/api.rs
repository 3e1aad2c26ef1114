//! The JetStream API: the requests of a consumer, and their responses.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{durable::Durable, server::Server, stream::rfc3339};

/// Responds to one request; `subject` is without its prefix.
pub fn answer(server: &mut Server, link: u64, subject: &str, reply: &str, payload: &[u8]) {
    let body: Value = serde_json::from_slice(payload).unwrap_or(Value::Null);
    if subject == "CONSUMER.MSG.NEXT.EVENTS.aggregator" {
        server.pull(link, reply, body["batch"].as_u64().unwrap_or(1));
        return;
    }
    let answer = if server.refusals > 0 {
        server.refusals -= 1;
        Err((503, 10_008, "JetStream system temporarily unavailable"))
    } else {
        ask(server, subject, &body)
    };
    let answer = answer.unwrap_or_else(|(code, err_code, description)| {
        json!({ "error": { "code": code, "err_code": err_code, "description": description } })
    });
    server.send(link, reply, None, answer.to_string().as_bytes());
}

/// Status, JetStream's error code, and description.
type Refusal = (u16, u16, &'static str);

const NO_STREAM: Refusal = (404, 10_059, "stream not found");
const NO_CONSUMER: Refusal = (404, 10_014, "consumer not found");
const NO_MESSAGE: Refusal = (404, 10_037, "no message found");

fn ask(server: &mut Server, subject: &str, body: &Value) -> Result<Value, Refusal> {
    let stream_is_there = server.stream.config.is_some();
    match subject {
        "STREAM.CREATE.EVENTS" | "STREAM.UPDATE.EVENTS" => {
            server.stream.config = Some(body.clone());
            server.stream.info().ok_or(NO_STREAM)
        }
        _ if !stream_is_there => Err(NO_STREAM),
        "STREAM.INFO.EVENTS" => {
            server.checks += 1;
            server.stream.info().ok_or(NO_STREAM)
        }
        "STREAM.PURGE.EVENTS" => {
            let before = body["seq"].as_u64().unwrap_or(0);
            check_purge(server, before);
            Ok(json!({ "success": true, "purged": server.stream.purge(before) }))
        }
        "STREAM.MSG.GET.EVENTS" => message(server, body),
        "CONSUMER.LIST.EVENTS" => {
            let all = [durable(server), position(server)];
            let all: Vec<_> = all.into_iter().filter_map(Result::ok).collect();
            Ok(json!({ "total": all.len(), "offset": 0, "limit": 256, "consumers": all }))
        }
        "CONSUMER.CREATE.EVENTS.aggregator~position" => {
            if server.position.is_some() {
                return Err((400, 10_148, "consumer already exists"));
            }
            let config = body["config"].clone();
            server.position = Some(Durable::new(config, &server.stream));
            position(server)
        }
        "CONSUMER.DELETE.EVENTS.aggregator~position" => {
            let deleted = server.position.take().ok_or(NO_CONSUMER);
            deleted.map(|_| json!({ "success": true }))
        }
        // For the sizes of messages; the double has only its durable, so trimming assumes the largest possible size.
        "CONSUMER.CREATE.EVENTS" => Err((400, 10_026, "maximum consumers limit reached")),
        "CONSUMER.INFO.EVENTS.aggregator" => durable(server),
        "CONSUMER.CREATE.EVENTS.aggregator" => {
            let config = body["config"].clone();
            match (&mut server.durable, body["action"].as_str()) {
                (Some(_), Some("create")) => return Err((400, 10_148, "consumer already exists")),
                (None, Some("update")) => return Err((400, 10_149, "consumer does not exist")),
                (Some(durable), _) => durable.config = config,
                (none, _) => *none = Some(Durable::new(config, &server.stream)),
            }
            durable(server)
        }
        "CONSUMER.DELETE.EVENTS.aggregator" => {
            if server.durable.is_none() {
                return Err(NO_CONSUMER);
            }
            server.forget_durable();
            Ok(json!({ "success": true }))
        }
        _ => {
            server.faults.push(format!(
                "a request that the double does not support: {subject}"
            ));
            Err((404, 10_000, "unknown"))
        }
    }
}

fn durable(server: &Server) -> Result<Value, Refusal> {
    let durable = server.durable.as_ref().ok_or(NO_CONSUMER)?;
    Ok(durable.info("aggregator", &server.stream, server.pulls()))
}

fn position(server: &Server) -> Result<Value, Refusal> {
    let position = server.position.as_ref().ok_or(NO_CONSUMER)?;
    Ok(position.info("aggregator~position", &server.stream, 0))
}

/// The message at a sequence, or the next one after it if the request names subjects, such as `events.>`.
fn message(server: &Server, body: &Value) -> Result<Value, Refusal> {
    let sequence = body["seq"].as_u64().unwrap_or(0);
    let record = if body["next_by_subj"].is_string() {
        let mut following = server.stream.messages.range(sequence..);
        following
            .next()
            .and_then(|(sequence, _)| server.stream.get(*sequence))
    } else {
        server.stream.get(sequence)
    };
    let record = record.ok_or(NO_MESSAGE)?;
    Ok(json!({ "message": {
        "subject": record.message.subject(), "seq": record.sequence, "time": rfc3339(record.time),
        "data": STANDARD.encode(record.message.body()),
    }}))
}

/// Records a fault if a purge discards messages that are not applied.
fn check_purge(server: &mut Server, before: u64) {
    let Some(evidence) = &server.evidence else {
        return;
    };
    let gone = server.stream.messages.range(..before.max(1));
    for record in gone.map(|(_, at)| &server.stream.records[*at]) {
        if let Err(err) = evidence.holds(record) {
            server
                .faults
                .push(format!("a purge of {record:?}, but {err}"));
        }
    }
}
