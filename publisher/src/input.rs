//! Input: files or standard input with NDJSON or a JSON array, gzipped or not; the format is detected from the content.
//!
//! Each input is read twice: all of it is inspected before any of it is sent, so one invalid line prevents sending. An
//! input that cannot be read twice is spooled to a file in the directory for temporary files (`TMPDIR`).

mod array;
mod feed;
mod inspect;
mod lines;
mod repeats;

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Seek, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;

pub use self::{
    feed::Feed,
    inspect::{Inspection, inspect},
};

/// Bytes per read.
const BUFFER_BYTES: usize = 128 * 1024;

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file, or anything else with a path.
    File(PathBuf),
    /// Standard input.
    StandardInput,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::StandardInput => f.write_str("standard input"),
        }
    }
}

/// Why an input cannot be read to its end. Nothing is known of what follows.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It is not readable, is damaged, or is truncated.
    #[error("cannot read {name}")]
    Read {
        /// The input's name.
        name: String,
        /// The error of the system or the decoder.
        source: io::Error,
    },
    /// It does not exist.
    #[error(
        "cannot read {name}: there is no such file; give the path of a file, or - for standard input"
    )]
    Missing {
        /// The input's name.
        name: String,
    },
    /// It cannot be spooled for the second pass.
    #[error(
        "cannot spool {name} to {}: the spool file is as large as the input; set TMPDIR to a directory with more space, \
         or send a file instead",
        directory.display()
    )]
    Spool {
        /// The input's name.
        name: String,
        /// The directory for temporary files.
        directory: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The identities of the events cannot be written to temporary files.
    #[error(
        "cannot write the identities of the events to {}: they need 24 bytes for each event; set TMPDIR to a directory \
         with more space",
        directory.display()
    )]
    Identities {
        /// The directory for temporary files.
        directory: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// It starts with a byte order mark.
    #[error(
        "{name}: starts with a {encoding} byte order mark; the input must be UTF-8 without one"
    )]
    ByteOrderMark {
        /// The input's name.
        name: String,
        /// The encoding of the mark.
        encoding: &'static str,
    },
    /// It starts as a JSON array but is not a valid one.
    #[error("{name}: {place}: {reason}; the rest of the input cannot be read")]
    Array {
        /// The input's name.
        name: String,
        /// Where it is invalid.
        place: Place,
        /// What is wrong.
        reason: String,
    },
    /// Its content is not what was inspected.
    #[error("{name}: the input changed after it was inspected")]
    Changed {
        /// The input's name.
        name: String,
    },
    /// The receiver of the events is gone.
    #[error("reading was stopped")]
    Stopped,
}

/// The location of an event in an input, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line of NDJSON.
    Line(u64),
    /// An element of an array.
    Element(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => line.fmt(f),
            Self::Element(element) => write!(f, "element {element}"),
        }
    }
}

/// Receives each candidate for an event: its bytes as read, or why they cannot be an event.
type Sink<'a> = dyn FnMut(Place, Result<Bytes, String>) -> Result<(), InputError> + 'a;

/// An input that can be read more than once.
#[derive(Debug)]
pub struct Input {
    name: String,
    file: File,
    /// The result of its inspection.
    inspected: CandidateCounts,
}

/// The number of candidates in an input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct CandidateCounts {
    /// Valid events.
    events: u64,
    /// Candidates that are not valid events.
    invalid: u64,
}

impl Input {
    /// Opens an input. Anything but a regular file is first copied unchanged to a temporary file.
    ///
    /// # Errors
    /// [`InputError::Missing`], [`InputError::Read`] and [`InputError::Spool`].
    pub fn open(origin: &Origin) -> Result<Self, InputError> {
        let name = origin.to_string();
        let opened = match origin {
            Origin::StandardInput => return Self::spool(name, &mut io::stdin().lock()),
            Origin::File(path) => File::open(path).and_then(|file| Ok((file.metadata()?, file))),
        };
        match opened {
            Ok((metadata, file)) if metadata.is_file() => Ok(Self::new(name, file)),
            Ok((metadata, _)) if metadata.is_dir() => Err(InputError::Read {
                name,
                source: io::Error::new(
                    io::ErrorKind::IsADirectory,
                    "it is a directory; give the paths of the files in it",
                ),
            }),
            Ok((_, mut pipe)) => Self::spool(name, &mut pipe),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Err(InputError::Missing { name }),
            Err(source) => Err(InputError::Read { name, source }),
        }
    }

    fn new(name: String, file: File) -> Self {
        Self {
            name,
            file,
            inspected: CandidateCounts::default(),
        }
    }

    fn spool(name: String, from: &mut dyn io::Read) -> Result<Self, InputError> {
        let file = spool_to(&std::env::temp_dir(), &name, from)?;
        Ok(Self::new(name, file))
    }

    /// Reads it from the start and passes each candidate with its location to the sink.
    ///
    /// # Errors
    /// If it cannot be read to its end, or the sink fails.
    fn read(&mut self, sink: &mut Sink<'_>) -> Result<(), InputError> {
        let name = &self.name;
        let failed = |source| InputError::Read {
            name: name.clone(),
            source,
        };
        self.file.rewind().map_err(failed)?;
        let mut raw = BufReader::with_capacity(BUFFER_BYTES, &self.file);
        let is_gzip = raw.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
        let mut reader: Box<dyn BufRead + '_> = if is_gzip {
            let decoder = MultiGzDecoder::new(raw);
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
        } else {
            Box::new(raw)
        };
        if let Some(encoding) = byte_order_mark(reader.fill_buf().map_err(failed)?) {
            return Err(InputError::ByteOrderMark {
                name: name.clone(),
                encoding,
            });
        }
        let blank_lines = skip_blanks(&mut *reader).map_err(failed)?;
        if reader.fill_buf().map_err(failed)?.first() == Some(&b'[') {
            array::read(name, &mut *reader, sink)
        } else {
            lines::read(name, &mut *reader, blank_lines, sink)
        }
    }
}

/// Copies an input to a file in `directory` that is deleted with its last handle.
fn spool_to(directory: &Path, name: &str, from: &mut dyn io::Read) -> Result<File, InputError> {
    let failed = |source| InputError::Spool {
        name: name.to_owned(),
        directory: directory.to_owned(),
        source,
    };
    let mut file = tempfile::tempfile_in(directory).map_err(failed)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(read) => file.write_all(&buffer[..read]).map_err(failed)?,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(InputError::Read {
                    name: name.to_owned(),
                    source,
                });
            }
        }
    }
}

fn byte_order_mark(start: &[u8]) -> Option<&'static str> {
    match start {
        [0xef, 0xbb, 0xbf, ..] => Some("UTF-8"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        _ => None,
    }
}

/// Skips white space and returns the number of lines that end in it.
fn skip_blanks(reader: &mut dyn BufRead) -> io::Result<u64> {
    let mut lines = 0;
    loop {
        let buffer = reader.fill_buf()?;
        let is_blank = |byte: &&u8| byte.is_ascii_whitespace();
        let blanks = buffer.iter().take_while(is_blank).count();
        lines += buffer[..blanks].split(|byte| *byte == b'\n').count() as u64 - 1;
        let ends = blanks < buffer.len() || buffer.is_empty();
        reader.consume(blanks);
        if ends {
            return Ok(lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::{Compression, read::GzEncoder};

    use super::*;

    pub(super) fn input(content: &[u8]) -> Input {
        Input::spool("test".to_owned(), &mut &*content).unwrap()
    }

    type Candidates = Vec<(String, Result<String, String>)>;

    /// Everything read: each candidate as text with its location, and the error, if any.
    pub(super) fn all(content: &[u8]) -> (Candidates, Option<InputError>) {
        let mut found = Vec::new();
        let end = input(content).read(&mut |place, candidate| {
            let text = candidate.map(|json| String::from_utf8(json.to_vec()).unwrap());
            found.push((place.to_string(), text));
            Ok(())
        });
        (found, end.err())
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut compressed = Vec::new();
        GzEncoder::new(content, Compression::default())
            .read_to_end(&mut compressed)
            .unwrap();
        compressed
    }

    fn texts(content: &[u8]) -> Vec<String> {
        let (found, end) = all(content);
        assert!(end.is_none(), "{end:?}");
        found.into_iter().map(|(_, text)| text.unwrap()).collect()
    }

    #[test]
    fn lines_and_arrays_are_detected_gzipped_or_not() {
        for content in [
            &b"{\"a\":1}\n{\"b\":2}\n"[..],
            b"\n [{\"a\":1},\n {\"b\":2}]\n",
        ] {
            assert_eq!(texts(content), ["{\"a\":1}", "{\"b\":2}"]);
            assert_eq!(texts(&gzip(content)), ["{\"a\":1}", "{\"b\":2}"]);
        }
        let members = [gzip(b"{\"a\":1}\n"), gzip(b"{\"b\":2}\n")].concat();
        assert_eq!(texts(&members), ["{\"a\":1}", "{\"b\":2}"]);
    }

    #[test]
    fn an_empty_input_has_no_events() {
        assert!(texts(b"").is_empty());
        assert!(texts(b" \n\n").is_empty());
        assert!(texts(b"[ ]").is_empty());
    }

    #[test]
    fn a_truncated_gzip_is_an_error() {
        let whole = gzip(&b"{\"a\":1}\n".repeat(1_000));
        let (_, end) = all(&whole[..whole.len() - 4]);
        assert!(matches!(end, Some(InputError::Read { .. })), "{end:?}");
    }

    #[test]
    fn a_byte_order_mark_is_refused_by_name() {
        for content in [b"\xef\xbb\xbf{}".to_vec(), gzip(b"\xff\xfe{\0}\0")] {
            let (found, end) = all(&content);
            assert!(found.is_empty());
            assert!(
                matches!(end, Some(InputError::ByteOrderMark { .. })),
                "{end:?}"
            );
        }
    }

    #[test]
    fn an_input_that_cannot_be_spooled_names_the_directory_and_tmpdir() {
        let err = spool_to(
            Path::new("/no/such/place"),
            "standard input",
            &mut &b"{}"[..],
        );
        let text = format!("{:#}", anyhow::Error::from(err.unwrap_err()));
        for part in ["standard input", "/no/such/place", "TMPDIR", "No such file"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn an_input_that_cannot_be_read_is_not_blamed_on_the_spool() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::IsADirectory.into())
            }
        }
        let err = spool_to(&std::env::temp_dir(), "standard input", &mut Broken);
        assert!(matches!(err, Err(InputError::Read { .. })), "{err:?}");
    }

    #[test]
    fn a_missing_file_and_a_directory_are_reported() {
        let missing = Input::open(&Origin::File("no/such/file".into())).unwrap_err();
        assert!(matches!(&missing, InputError::Missing { name } if name == "no/such/file"));
        let directory = Input::open(&Origin::File(".".into())).unwrap_err();
        assert!(
            matches!(directory, InputError::Read { source, .. } if source.kind() == io::ErrorKind::IsADirectory)
        );
    }
}
