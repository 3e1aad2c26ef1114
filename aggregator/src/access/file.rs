//! The tokens file: TOML, one entry for each token.

mod entry;
mod write;

use std::{
    collections::{HashMap, HashSet},
    fs::{Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{fs::OFlags, process::geteuid};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use self::entry::{RawEntry, parse_name};
pub use self::{
    entry::parse_rate,
    write::{New, add, check_name, remove},
};
use super::{grant::Grant, secret, subject::Subject};

/// Largest file, a few thousand tokens.
const MAX_BYTES: u64 = 1024 * 1024;

/// The mode bits of users other than the owner.
const OTHERS: u32 = 0o077;

/// The tokens of a file.
#[derive(Debug, Default)]
pub struct Tokens {
    entries: Vec<Arc<Grant>>,
    /// The place of each by its hash.
    places: HashMap<[u8; 32], usize>,
    /// The place of each that a client certificate shows.
    subjects: HashMap<Subject, usize>,
}

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
    /// It is a directory, a pipe or a device.
    #[error("the tokens file {} is not a regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// Another user can replace its content.
    #[error(
        "the tokens file {} belongs to the user {owner}; it must belong to the user of the service or to root",
        path.display()
    )]
    OfAnother {
        /// The file.
        path: PathBuf,
        /// The id of its owner.
        owner: u32,
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
        let (mut names, mut places) = (HashSet::new(), HashMap::new());
        let mut subjects = HashMap::new();
        let mut entries = Vec::with_capacity(document.token.len());
        for (raw, number) in document.token.into_iter().zip(1..) {
            // It may be the token itself, put in the wrong place.
            let name = parse_name(&raw.name).map_err(|wrong| format!("token {number}: {wrong}"))?;
            let name = name.to_owned();
            let grant = raw.check();
            let grant = grant.map_err(|reason| format!("token {number} ({name:?}): {reason}"))?;
            if !names.insert(name.clone()) {
                return Err(format!("the name {name:?} is given more than once"));
            }
            if let Some(sha256) = grant.sha256
                && places.insert(sha256, entries.len()).is_some()
            {
                return Err(format!(
                    "token {number} ({name:?}) has the sha256 of another one"
                ));
            }
            if let Some(subject) = &grant.subject
                && subjects.insert(subject.clone(), entries.len()).is_some()
            {
                return Err(format!(
                    "token {number} ({name:?}) has the subject of another one"
                ));
            }
            entries.push(Arc::new(grant));
        }
        Ok(Self {
            entries,
            places,
            subjects,
        })
    }

    /// Reads a file, for a person who manages it.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(path: &Path) -> Result<Self, FileError> {
        Self::read_from(path, &text(path)?)
    }

    /// Reads a file, for the service: nobody other than its own user and root decides who may use it.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read_own(path: &Path) -> Result<Self, FileError> {
        Self::read_from(path, &own_text(path)?)
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
        &self.entries
    }

    /// What the token with this hash allows. It is found by a hash map and then compared in constant time, so the time reveals
    /// nothing about the hashes in the file.
    #[must_use]
    pub fn find(&self, sha256: &[u8; 32]) -> Option<&Arc<Grant>> {
        let found = &self.entries[*self.places.get(sha256)?];
        bool::from(found.sha256.as_ref()?.ct_eq(sha256)).then_some(found)
    }

    /// What the client certificate with this subject allows.
    #[must_use]
    pub fn find_subject(&self, subject: &Subject) -> Option<&Arc<Grant>> {
        Some(&self.entries[*self.subjects.get(subject)?])
    }

    /// The entry that is shown in the same way.
    pub(super) fn find_same(&self, grant: &Grant) -> Option<&Arc<Grant>> {
        match (&grant.sha256, &grant.subject) {
            (Some(sha256), _) => self.find(sha256),
            (None, Some(subject)) => self.find_subject(subject),
            (None, None) => None,
        }
    }

    /// Keeps what the tokens owe that are also in `before`, with the same rate.
    pub(super) fn owe_as(&mut self, before: &Self) {
        for grant in &mut self.entries {
            let earlier = before.find_same(grant);
            let Some(earlier) = earlier.and_then(|earlier| earlier.rate.as_ref()) else {
                continue;
            };
            if let Some(rate) = Arc::get_mut(grant).and_then(|grant| grant.rate.as_mut())
                && rate.per_second() == earlier.per_second()
            {
                *rate = earlier.clone();
            }
        }
    }
}

/// The text of a file that only its owner can read.
pub(super) fn text(path: &Path) -> Result<String, FileError> {
    read(path, |_| true)
}

/// The same of a file of the service's own user or of root.
pub(super) fn own_text(path: &Path) -> Result<String, FileError> {
    let user = geteuid().as_raw();
    read(path, |owner| [0, user].contains(&owner))
}

fn read(path: &Path, is_trusted: impl FnOnce(u32) -> bool) -> Result<String, FileError> {
    let unreadable = |source| FileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    // Opening a pipe would wait for its writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = options.read(true).custom_flags(flags).open(path);
    let file = file.map_err(unreadable)?;
    check(path, &file.metadata().map_err(unreadable)?, is_trusted)?;
    let mut text = String::new();
    let mut limited = file.take(MAX_BYTES + 1);
    limited.read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        let path = path.to_owned();
        return Err(FileError::TooLarge { path });
    }
    Ok(text)
}

fn check(
    path: &Path,
    metadata: &Metadata,
    is_trusted: impl FnOnce(u32) -> bool,
) -> Result<(), FileError> {
    let path = path.to_owned();
    if !metadata.is_file() {
        return Err(FileError::NotRegular { path });
    }
    let owner = metadata.uid();
    if !is_trusted(owner) {
        return Err(FileError::OfAnother { path, owner });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(FileError::Open { path, mode });
    }
    Ok(())
}

/// The line of the error, and of the message only what names a member: others quote values, which may be secrets.
fn without_text(err: &toml_edit::de::Error, text: &str) -> String {
    let message = err.message().lines().next().unwrap_or_default();
    let names_a_member = ["unknown field ", "missing field "]
        .iter()
        .any(|beginning| message.starts_with(beginning));
    let reason = if names_a_member && !message.contains(secret::PREFIX) {
        message
    } else {
        "it is not TOML, or a value is not of its member's type"
    };
    match err.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {reason}", before.matches('\n').count() + 1),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
