//! A JSON array, read one element at a time.

use std::{
    cell::Cell,
    fmt,
    io::{self, BufRead, Read},
};

use bytes::Bytes;
use serde::{
    Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use shared::event::MAX_EVENT_BYTES;

use super::{InputError, Place, Sink};

/// Maximum bytes between the ends of two elements, so that memory is bounded. An element larger than an event may be is
/// invalid; after one larger than this, the rest of the array cannot be read.
const MAX_ELEMENT_BYTES: usize = 2 * MAX_EVENT_BYTES;

/// Reads the elements to the end of the array; only white space may follow it.
pub(super) fn read(
    name: &str,
    reader: &mut dyn BufRead,
    sink: &mut Sink<'_>,
) -> Result<(), InputError> {
    let progress = ReadProgress::default();
    let mut stopped = None;
    let bounded = Bounded {
        reader,
        progress: &progress,
    };
    let mut json = serde_json::Deserializer::from_reader(bounded);
    let elements = Elements {
        progress: &progress,
        sink,
        stopped: &mut stopped,
    };
    let ended = json.deserialize_seq(elements).and_then(|()| json.end());
    if let Some(stopped) = stopped {
        return Err(stopped);
    }
    ended.map_err(|err| {
        if err.is_io() {
            return InputError::Read {
                name: name.to_owned(),
                source: err.into(),
            };
        }
        InputError::Array {
            name: name.to_owned(),
            place: Place::Element(progress.elements.get() + 1),
            reason: err.to_string(),
        }
    })
}

/// How far the array has been read.
#[derive(Default)]
struct ReadProgress {
    elements: Cell<u64>,
    /// Bytes since the end of the last element.
    bytes: Cell<usize>,
}

/// Fails when an element is too long.
struct Bounded<'a> {
    reader: &'a mut dyn BufRead,
    progress: &'a ReadProgress,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.reader.read(buffer)?;
        let since = self.progress.bytes.get() + bytes;
        self.progress.bytes.set(since);
        if since > MAX_ELEMENT_BYTES {
            let element = self.progress.elements.get() + 1;
            return Err(io::Error::other(format!(
                "element {element} has more than {MAX_ELEMENT_BYTES} bytes"
            )));
        }
        Ok(bytes)
    }
}

struct Elements<'a, 'b> {
    progress: &'a ReadProgress,
    sink: &'a mut Sink<'b>,
    stopped: &'a mut Option<InputError>,
}

impl<'de> Visitor<'de> for Elements<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<Box<RawValue>>()? {
            let number = self.progress.elements.get() + 1;
            self.progress.elements.set(number);
            self.progress.bytes.set(0);
            let json = Bytes::from(Box::<str>::from(element).into_boxed_bytes());
            if let Err(stopped) = (self.sink)(Place::Element(number), Ok(json)) {
                *self.stopped = Some(stopped);
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::all, *};

    #[test]
    fn elements_are_returned_unchanged() {
        let (found, end) = all(b"[ { \"a\" : 1.0e5 } ,\n7,\"x\"]");
        assert!(end.is_none(), "{end:?}");
        let expected = [("1", "{ \"a\" : 1.0e5 }"), ("2", "7"), ("3", "\"x\"")]
            .map(|(n, text)| (format!("element {n}"), Ok(text.to_owned())));
        assert_eq!(found, expected);
    }

    #[test]
    fn an_error_in_an_array_names_the_element() {
        for content in [&b"[{},{}"[..], b"[{},{},", b"[{},{},{\"a\":", b"[{},{},}]"] {
            let (found, end) = all(content);
            assert_eq!(found.len(), 2);
            let text = end.unwrap().to_string();
            assert!(text.contains("element 3: "), "{text}");
        }
        let (_, end) = all(b"[{}] {}");
        assert!(matches!(end, Some(InputError::Array { .. })), "{end:?}");
    }

    #[test]
    fn an_oversized_element_does_not_fill_memory() {
        let content = format!("[{{}},\"{}\"]", "x".repeat(2 * MAX_ELEMENT_BYTES));
        let (found, end) = all(content.as_bytes());
        assert_eq!(found.len(), 1);
        match end {
            Some(InputError::Read { source, .. }) => {
                let text = source.to_string();
                assert!(text.contains("element 2 has more than"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
}
