//! The walk over Protobuf.
//!
//! Fields may arrive in any order, and a non-repeated field may occur several times, in which case its occurrences are merged
//! (<https://protobuf.dev/programming-guides/encoding/#last-one-wins>).

use std::mem;

use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use super::{Nested, Part, Unusable, Visit, bounded, with_url};
use crate::http::edge::problem::Problem;

/// Walks an `ExportLogsServiceRequest`.
pub fn walk(body: &[u8], visitor: &mut impl Visit) -> Result<(), Problem> {
    each(body, 1, |resource_logs| {
        let resource = merged(resource_logs, "Resource")?;
        let (resource, url) = with_url(resource, schema_url(resource_logs)?);
        visitor.resource(resource, url);
        each(resource_logs, 2, |scope_logs| {
            let scope = merged(scope_logs, "InstrumentationScope")?;
            let (scope, url) = with_url(scope, schema_url(scope_logs)?);
            visitor.scope(scope, url);
            each(scope_logs, 2, |record| {
                let decode = || {
                    Message::decode(record).map_err(|err| Unusable::undecodable("LogRecord", &err))
                };
                visitor.record(bounded(record.len(), decode))
            })
        })
    })
}

/// Field 1 of a `ResourceLogs` or `ScopeLogs`.
fn merged<T: Message + Default + Nested>(
    message: &[u8],
    name: &str,
) -> Result<Part<Option<T>>, Problem> {
    let mut bytes = 0;
    each(message, 1, |occurrence| {
        bytes += occurrence.len();
        Ok(())
    })?;
    Ok(bounded(bytes, || {
        let mut merged: Option<T> = None;
        let mut merging = Ok(());
        let walked = each(message, 1, |occurrence| {
            merging = mem::replace(&mut merging, Ok(()))
                .and_then(|()| merged.get_or_insert_default().merge(occurrence));
            Ok(())
        });
        walked.expect("the first walk checked these fields");
        match merging {
            Ok(()) => Ok(merged),
            Err(err) => Err(Unusable::undecodable(name, &err)),
        }
    }))
}

/// Field 3 of a `ResourceLogs` or `ScopeLogs`.
fn schema_url(message: &[u8]) -> Result<Part<&str>, Problem> {
    let mut last: &[u8] = &[];
    each(message, 3, |url| {
        last = url;
        Ok(())
    })?;
    Ok(str::from_utf8(last).map_err(|err| Unusable::undecodable("schemaUrl", &err)))
}

/// Calls `show` with the contents of every field `tag` of a message, which must be length-delimited.
fn each<'a>(
    mut message: &'a [u8],
    tag: u32,
    mut show: impl FnMut(&'a [u8]) -> Result<(), Problem>,
) -> Result<(), Problem> {
    while !message.is_empty() {
        if let Some(field) = next(&mut message, tag).map_err(|err| undecodable(&err))? {
            show(field)?;
        }
    }
    Ok(())
}

/// The next field, if it is `tag`, which must be length-delimited; any other is checked and skipped.
fn next<'a>(message: &mut &'a [u8], tag: u32) -> Result<Option<&'a [u8]>, DecodeError> {
    let (found, wire_type) = decode_key(message)?;
    let mut rest = *message;
    skip_field(wire_type, found, message, DecodeContext::default())?;
    if found != tag {
        return Ok(None);
    }
    prost::encoding::check_wire_type(WireType::LengthDelimited, wire_type)?;
    // The skipped bytes: a length, and that many bytes.
    decode_varint(&mut rest)?;
    Ok(Some(&rest[..rest.len() - message.len()]))
}

fn undecodable(err: &dyn std::fmt::Display) -> Problem {
    Problem::undecodable(format!(
        "not an ExportLogsServiceRequest in Protobuf: {err}"
    ))
}
