//! The walk over JSON. Names are those of OTLP's JSON only, each at most once; others are passed over.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Part, Visit, bounded, with_url};
use crate::http::problem::Problem;

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
    schema_url: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    #[serde(borrow)]
    scope: Option<&'a RawValue>,
    #[serde(borrow)]
    log_records: Option<&'a RawValue>,
    #[serde(borrow)]
    schema_url: Option<Cow<'a, str>>,
}

/// Walks an `ExportLogsServiceRequest`.
pub fn walk(body: &[u8], visitor: &mut impl Visit) -> Result<(), Problem> {
    let whole: &RawValue = serde_json::from_slice(body).map_err(|err| Problem::not_json(&err))?;
    let Request { resource_logs } = read(whole, "ExportLogsServiceRequest")?;
    each(resource_logs, "resourceLogs", |resource_logs| {
        let ResourceLogs {
            resource,
            scope_logs,
            schema_url,
        } = read(resource_logs, "ResourceLogs")?;
        let resource = part(resource, "Resource")?;
        let (resource, url) = with_url(resource, &schema_url.unwrap_or_default());
        visitor.resource(resource, url);
        each(scope_logs, "scopeLogs", |scope_logs| {
            let ScopeLogs {
                scope,
                log_records,
                schema_url,
            } = read(scope_logs, "ScopeLogs")?;
            let scope = part(scope, "InstrumentationScope")?;
            let (scope, url) = with_url(scope, &schema_url.unwrap_or_default());
            visitor.scope(scope, url);
            each(log_records, "logRecords", |record| {
                visitor.record(bounded(record.get().len(), || read(record, "LogRecord"))?)
            })
        })
    })
}

/// Reads a message of this name.
fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue, name: &str) -> Result<T, Problem> {
    // An array would be read as its fields in their order.
    if !raw.get().starts_with('{') {
        return Err(Problem::undecodable(format!("{name} in JSON is an object")));
    }
    let read = serde_json::from_str(raw.get());
    read.map_err(|err| Problem::undecodable(format!("not {name} in JSON: {err} of it")))
}

fn part<'a, T: Deserialize<'a>>(
    raw: Option<&'a RawValue>,
    name: &str,
) -> Result<Part<Option<T>>, Problem> {
    match raw {
        Some(raw) => bounded(raw.get().len(), || read(raw, name).map(Some)),
        None => Ok(Ok(None)),
    }
}

/// Shows every element of an array of this name, without a list of them.
fn each<'a>(
    array: Option<&'a RawValue>,
    name: &str,
    mut show: impl FnMut(&'a RawValue) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let Some(array) = array else {
        return Ok(());
    };
    // Of a text in its place the error would hold all of it, escaped.
    if !array.get().starts_with('[') {
        let problem = format!("{name} in JSON is an array");
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
    // What stopped the walk says more than that it was stopped.
    outcome?;
    walked.map_err(|err| Problem::undecodable(format!("not {name} in JSON: {err} of it")))
}

/// Shows elements as long as it is answered with true.
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
