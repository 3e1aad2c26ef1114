//! Files with private keys and passwords, which only their service should read.
//!
//! Such a file is used whatever its mode is, and the programs warn about one that every user of the machine can read: secrets are
//! often mounted into containers like that, so to refuse it would break what works. The group is trusted, because a service that is
//! not the owner of its key reads it by a group: Debian's `ssl-cert` or the `fsGroup` of Kubernetes.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// The mode bits by which users other than the owner and the group read or write a file.
const READ: u32 = 0o004;
const WRITE: u32 = 0o002;

/// The bit by which they reach what is in a directory.
const ENTER: u32 = 0o001;

/// A warning for each of these files that other users can read or write, once even if several flags name the file.
pub fn warnings<'a>(files: impl IntoIterator<Item = (&'a str, &'a Path)>) -> Vec<String> {
    let mut known = BTreeSet::<PathBuf>::new();
    let files = files.into_iter().filter(|(_, file)| {
        let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
        known.insert(file)
    });
    files
        .filter_map(|(flag, file)| warning(flag, file))
        .collect()
}

/// The warning if other users can read or write this file.
#[must_use]
pub fn warning(flag: &str, file: &Path) -> Option<String> {
    // What a mounted secret has as its path may be a link to the file.
    let target = fs::canonicalize(file).ok()?;
    let mode = mode(&target)?;
    let can = match (mode & READ != 0, mode & WRITE != 0) {
        (false, false) => return None,
        (true, false) => "read it",
        (false, true) => "replace its content",
        (true, true) => "read it and replace its content",
    };
    let is_reachable = target
        .ancestors()
        .skip(1)
        .all(|directory| self::mode(directory).is_some_and(|mode| mode & ENTER != 0));
    is_reachable.then(|| {
        let file = file.display();
        format!(
            "{flag} {file} has the mode {mode:03o}, so every user of this system can {can}; run: chmod 600 {file}, or 640 if the service reads it by its group"
        )
    })
}

fn mode(path: &Path) -> Option<u32> {
    let metadata = fs::metadata(path).ok()?;
    Some(metadata.permissions().mode() & 0o7777)
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::symlink};

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_that_every_user_can_read_or_write_is_reported_once() {
        // Not where TMPDIR is, which other users may be unable to enter.
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let (file, link) = (directory.path().join("key"), directory.path().join("link"));
        fs::write(&file, "secret").unwrap();
        symlink(&file, &link).unwrap();
        set(directory.path(), 0o755);
        for (mode, said) in [
            (0o600, None),
            (0o400, None),
            (0o640, None),
            (0o660, None),
            (0o644, Some("can read it;")),
            (0o444, Some("can read it;")),
            (0o602, Some("can replace its content;")),
            (0o666, Some("can read it and replace its content;")),
        ] {
            set(&file, mode);
            for path in [&file, &link] {
                let found = warning("--key", path);
                match (&found, said) {
                    (None, None) => {}
                    (Some(found), Some(said)) => assert!(
                        found.starts_with("--key /") && found.contains(said),
                        "{found}"
                    ),
                    _ => panic!("{mode:o}: {found:?}"),
                }
            }
        }
        let (file, link) = (file.as_path(), link.as_path());
        assert_eq!(warnings([("--a", file), ("--b", link)]).len(), 1);
        assert_eq!(warnings([("--a", Path::new("/nowhere"))]), [""; 0]);
        // Others cannot enter the directory.
        set(directory.path(), 0o750);
        assert_eq!(warning("--key", file), None);
    }
}
