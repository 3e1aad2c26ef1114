//! The tokens file: TOML, one entry for each token.

mod entry;
mod write;

use std::{
    collections::HashSet,
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use self::entry::RawEntry;
pub use self::{
    entry::parse_rate,
    write::{New, add, check_name, remove},
};
use super::grant::Grant;

/// Largest file, a few thousand tokens.
const MAX_BYTES: u64 = 1024 * 1024;

/// The mode bits of users other than the owner.
const OTHERS: u32 = 0o077;

/// The tokens of a file.
#[derive(Debug, Default)]
pub struct Tokens(Vec<Arc<Grant>>);

/// Why a tokens file cannot be used. No message has a part of the file that could be a secret.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the tokens file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Other users can read or write it.
    #[error(
        "the tokens file {} has the mode {mode:o}, so other users have access to it; run: chmod 600 {}",
        path.display(), path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is too large.
    #[error("the tokens file {} has more than 1 MiB", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Its content is not valid.
    #[error("the tokens file {} is not valid: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line or the name of the entry.
        reason: String,
    },
    /// It cannot be written.
    #[error("cannot write the tokens file {}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a token with this name already.
    #[error("there is a token {name:?} already; revoke it first, or choose another name")]
    Exists {
        /// The name.
        name: String,
    },
    /// There is no token with this name.
    #[error("there is no token {name:?}")]
    Unknown {
        /// The name.
        name: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    token: Vec<RawEntry>,
}

impl Tokens {
    /// The tokens in the text of a file.
    ///
    /// # Errors
    /// What is wrong, with the line or the name of the entry.
    pub fn parse(text: &str) -> Result<Self, String> {
        let document: Document =
            toml_edit::de::from_str(text).map_err(|err| without_text(&err, text))?;
        let (mut names, mut digests) = (HashSet::new(), HashSet::new());
        let mut entries = Vec::with_capacity(document.token.len());
        for (raw, number) in document.token.into_iter().zip(1..) {
            let name = raw.name.clone();
            let grant = raw.check();
            let grant = grant.map_err(|reason| format!("token {number} ({name:?}): {reason}"))?;
            if !names.insert(name.clone()) {
                return Err(format!("the name {name:?} is given more than once"));
            }
            if !digests.insert(grant.sha256) {
                return Err(format!(
                    "token {number} ({name:?}) has the sha256 of another one"
                ));
            }
            entries.push(Arc::new(grant));
        }
        Ok(Self(entries))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(path: &Path) -> Result<Self, FileError> {
        Self::read_from(path, &text(path)?)
    }

    /// The tokens in the text of this file.
    pub(super) fn read_from(path: &Path, text: &str) -> Result<Self, FileError> {
        Self::parse(text).map_err(|reason| FileError::Invalid {
            path: path.to_owned(),
            reason,
        })
    }

    /// What each token allows.
    #[must_use]
    pub fn entries(&self) -> &[Arc<Grant>] {
        &self.0
    }
}

/// The text of a file that only its owner can read.
pub(super) fn text(path: &Path) -> Result<String, FileError> {
    let unreadable = |source| FileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    check(path, &file.metadata().map_err(unreadable)?)?;
    let mut text = String::new();
    let mut limited = file.take(MAX_BYTES + 1);
    limited.read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        let path = path.to_owned();
        return Err(FileError::TooLarge { path });
    }
    Ok(text)
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), FileError> {
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let path = path.to_owned();
    Err(FileError::Open { path, mode })
}

/// The message with its line, but without the text of the line, as the error itself would show it.
fn without_text(err: &toml_edit::de::Error, text: &str) -> String {
    let message = err.message().replace('\n', "; ");
    match err.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

#[cfg(test)]
mod tests;
