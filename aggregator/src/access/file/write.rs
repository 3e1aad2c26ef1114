//! Changes to the tokens file, which keep everything else in it as it is written.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, fchown},
    path::{Path, PathBuf},
};

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use super::{FileError, Tokens, entry, text};
use crate::{
    access::{pattern::Patterns, secret::Secret},
    clock,
};

/// A token that is to be created.
#[derive(Debug)]
pub struct New<'a> {
    /// Its name.
    pub name: &'a str,
    /// Patterns of the topics that it may publish.
    pub publish: &'a Patterns,
    /// Patterns of the topics that it may read.
    pub read: &'a Patterns,
    /// Whether it may operate the service.
    pub admin: bool,
    /// When it ends, in microseconds since 1970.
    pub expires: Option<i64>,
    /// Events in each second.
    pub rate: Option<std::num::NonZeroU32>,
}

/// Adds a token to a file, which is created if it does not exist.
///
/// # Errors
/// [`FileError`].
pub fn add(path: &Path, new: &New<'_>) -> Result<Secret, FileError> {
    let secret = Secret::new();
    let target = Target::lock(path)?;
    let path = &target.path;
    let mut document = open(path, true)?;
    let tokens = document
        .entry("token")
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let tokens = tokens.as_array_of_tables_mut();
    let tokens = tokens.ok_or_else(|| inline(path))?;
    if position(tokens, new.name).is_some() {
        let name = new.name.to_owned();
        return Err(FileError::Exists { name });
    }
    tokens.push(table(&secret, new));
    save(&target, &document)?;
    Ok(secret)
}

/// Removes a token from a file.
///
/// # Errors
/// [`FileError`].
pub fn remove(path: &Path, name: &str) -> Result<(), FileError> {
    let target = Target::lock(path)?;
    let path = &target.path;
    let mut document = open(path, false)?;
    let tokens = document.get_mut("token").map(|tokens| {
        let tokens = tokens.as_array_of_tables_mut();
        tokens.ok_or_else(|| inline(path))
    });
    let found = tokens.transpose()?;
    let found = found.and_then(|tokens| Some((position(tokens, name)?, tokens)));
    let Some((index, tokens)) = found else {
        let name = name.to_owned();
        return Err(FileError::Unknown { name });
    };
    tokens.remove(index);
    save(&target, &document)
}

/// A file that is to be changed, whose directory is locked meanwhile, so that no change of another process is lost. The lock is not
/// on the file, which is replaced.
struct Target {
    /// The file itself, where a symbolic link to it was given.
    path: PathBuf,
    directory: File,
}

impl Target {
    fn lock(path: &Path) -> Result<Self, FileError> {
        let unwritable = |source| FileError::Unwritable {
            path: path.to_owned(),
            source,
        };
        let path = match path.canonicalize() {
            Err(err) if err.kind() == ErrorKind::NotFound => path.to_owned(),
            found => found.map_err(unwritable)?,
        };
        let directory = File::open(directory_of(&path)).map_err(unwritable)?;
        directory.lock().map_err(unwritable)?;
        Ok(Self { path, directory })
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn open(path: &Path, is_new_allowed: bool) -> Result<DocumentMut, FileError> {
    let text = match text(path) {
        Err(FileError::Unreadable { source, .. })
            if is_new_allowed && source.kind() == ErrorKind::NotFound =>
        {
            return Ok(DocumentMut::new());
        }
        text => text?,
    };
    Tokens::read_from(path, &text)?;
    Ok(text.parse().expect("it was parsed as TOML above"))
}

fn inline(path: &Path) -> FileError {
    FileError::Invalid {
        path: path.to_owned(),
        reason: "only a file with [[token]] entries can be changed by this command".to_owned(),
    }
}

fn position(tokens: &ArrayOfTables, name: &str) -> Option<usize> {
    let has_name = |table: &Table| table.get("name").and_then(Item::as_str) == Some(name);
    tokens.iter().position(has_name)
}

fn table(secret: &Secret, new: &New<'_>) -> Table {
    let New {
        name,
        publish,
        read,
        admin,
        expires,
        rate,
    } = new;
    let mut table = Table::new();
    table["name"] = value(*name);
    table["sha256"] = value(secret.sha256().map(|byte| format!("{byte:02x}")).concat());
    for (key, patterns) in [("publish", publish), ("read", read)] {
        if !patterns.is_empty() {
            table[key] = value(patterns.texts().collect::<Array>());
        }
    }
    if *admin {
        table["admin"] = value(true);
    }
    if let Some(expires) = expires {
        let time = clock::rfc3339(*expires).parse::<toml_edit::Datetime>();
        table["expires"] = value(time.expect("a time as RFC 3339 writes it is one of TOML"));
    }
    if let Some(rate) = rate {
        table["rate"] = value(format!("{rate}/s"));
    }
    table
}

/// Replaces a file as a whole, so that a service that reads it meanwhile sees the old or the new one. It keeps its owner, since
/// the service can read it only then.
fn save(target: &Target, document: &DocumentMut) -> Result<(), FileError> {
    let Target { path, directory } = target;
    let text = document.to_string();
    Tokens::read_from(path, &text)?;
    let write = || -> io::Result<()> {
        // Its mode is 600.
        let mut file = tempfile::NamedTempFile::new_in(directory_of(path))?;
        file.write_all(text.as_bytes())?;
        if let Ok(old) = path.metadata() {
            let new = file.as_file().metadata()?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                // Not by its path: the owner of the directory could put a link there.
                fchown(file.as_file(), Some(old.uid()), Some(old.gid()))?;
            }
        }
        file.as_file().sync_all()?;
        file.persist(path)?;
        directory.sync_all()
    };
    write().map_err(|source| FileError::Unwritable {
        path: path.to_owned(),
        source,
    })
}

/// Checks a name given by a person.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<String, String> {
    entry::parse_name(name).map(str::to_owned)
}
