//! The walk over JSON. It knows the names of OTLP's JSON (camel case) only, each at most once; other members are ignored and
//! reported to the visitor.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, SeqAccess, Visitor},
};
use serde_ignored::Path;
use serde_json::value::RawValue;

use super::{Nested, Part, Unusable, Visit, bounded, with_url};
use crate::http::edge::problem::Problem;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    resource_logs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    #[serde(borrow)]
    scope_logs: Option<&'a RawValue>,
    #[serde(borrow)]
    schema_url: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    #[serde(borrow)]
    scope: Option<&'a RawValue>,
    #[serde(borrow)]
    log_records: Option<&'a RawValue>,
    #[serde(borrow)]
    schema_url: Option<&'a RawValue>,
}

/// A string.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Walks an `ExportLogsServiceRequest`.
pub fn walk(body: &[u8], visitor: &mut impl Visit) -> Result<(), Problem> {
    let whole: &RawValue = serde_json::from_slice(body).map_err(|err| Problem::not_json(&err))?;
    let Request { resource_logs } = container(whole, "ExportLogsServiceRequest", visitor)?;
    each(resource_logs, "resourceLogs", |resource_logs| {
        let ResourceLogs {
            resource,
            scope_logs,
            schema_url,
        } = container(resource_logs, "ResourceLogs", visitor)?;
        let resource = part(resource, "Resource", visitor);
        let url = url(schema_url, "ResourceLogs.schemaUrl");
        let (resource, url) = with_url(resource, url.as_deref().map_err(Clone::clone));
        visitor.resource(resource, url);
        each(scope_logs, "scopeLogs", |scope_logs| {
            let ScopeLogs {
                scope,
                log_records,
                schema_url,
            } = container(scope_logs, "ScopeLogs", visitor)?;
            let scope = part(scope, "InstrumentationScope", visitor);
            let url = self::url(schema_url, "ScopeLogs.schemaUrl");
            let (scope, url) = with_url(scope, url.as_deref().map_err(Clone::clone));
            visitor.scope(scope, url);
            each(log_records, "logRecords", |record| {
                let record = bounded(record.get().len(), || read(record, "LogRecord", visitor));
                visitor.record(record)
            })
        })
    })
}

/// Reads the message of this name, and reports its unknown members to the visitor.
fn read<'a, T: Deserialize<'a>>(
    raw: &'a RawValue,
    name: &'static str,
    visitor: &mut impl Visit,
) -> Part<T> {
    // serde would read an array as the fields in order.
    if !raw.get().starts_with('{') {
        return Err(Unusable::Undecodable(format!(
            "{name} in JSON must be an object"
        )));
    }
    let mut json = serde_json::Deserializer::from_str(raw.get());
    let unknown = |path: Path<'_>| {
        if let Path::Map { key, .. } = path {
            visitor.unknown(name, &key);
        }
    };
    serde_ignored::deserialize(&mut json, unknown)
        .map_err(|err| Unusable::undecodable(name, &format_args!("{err} of the {name}")))
}

/// Reads a message that contains records. If it cannot be decoded, the request cannot be walked.
fn container<'a, T: Deserialize<'a>>(
    raw: &'a RawValue,
    name: &'static str,
    visitor: &mut impl Visit,
) -> Result<T, Problem> {
    read(raw, name, visitor).map_err(|unusable| Problem::undecodable(unusable.to_string()))
}

/// Reads a message that records share, if present.
fn part<'a, T: Deserialize<'a> + Nested>(
    raw: Option<&'a RawValue>,
    name: &'static str,
    visitor: &mut impl Visit,
) -> Part<Option<T>> {
    let raw = raw.filter(|raw| raw.get() != "null");
    raw.map(|raw| bounded(raw.get().len(), || read(raw, name, visitor)))
        .transpose()
}

/// Reads a schema URL.
fn url<'a>(raw: Option<&'a RawValue>, name: &str) -> Part<Cow<'a, str>> {
    let url: Option<Cow<'a, str>> = match raw {
        // Borrowed if it has no escapes.
        Some(raw) => serde_json::from_str::<Option<Text<'a>>>(raw.get())
            .map_err(|err| Unusable::undecodable(name, &err))?
            .map(|text| text.0),
        None => None,
    };
    Ok(url.unwrap_or_default())
}

/// Calls `show` for every element of the array of this name, without collecting them.
fn each<'a>(
    array: Option<&'a RawValue>,
    name: &str,
    mut show: impl FnMut(&'a RawValue) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let Some(array) = array else {
        return Ok(());
    };
    // serde's error for a string in its place would quote all of it, escaped.
    if !array.get().starts_with('[') {
        let problem = format!("{name} in JSON must be an array");
        return if array.get() == "null" {
            Ok(())
        } else {
            Err(Problem::undecodable(problem))
        };
    }
    let mut outcome = Ok(());
    let elements = Elements(|element| {
        outcome = show(element);
        outcome.is_ok()
    });
    let walked = elements.deserialize(&mut serde_json::Deserializer::from_str(array.get()));
    // The error that stopped the walk, rather than the placeholder that serde returns for it.
    outcome?;
    walked.map_err(|err| Problem::undecodable(format!("not {name} in JSON: {err} of this array")))
}

/// Calls a function for each element until it returns false.
struct Elements<F>(F);

impl<'de, F: FnMut(&'de RawValue) -> bool> DeserializeSeed<'de> for Elements<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&'de RawValue) -> bool> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<(), A::Error> {
        while let Some(element) = array.next_element()? {
            if !(self.0)(element) {
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}
