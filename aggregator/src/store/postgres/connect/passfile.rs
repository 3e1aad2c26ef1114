//! The password of the database's user in a file, in the format of PostgreSQL's own clients, so that it is neither in a process
//! argument nor in the environment.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use deadpool_postgres::Connect;
use futures::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error, config::Host};
use tracing::warn;

/// A file with lines `HOST:PORT:DATABASE:USER:PASSWORD`. Each of the first four may be `*`; a colon or a backslash in a field follows a
/// backslash.
#[derive(Debug, Clone)]
pub struct Passfile(PathBuf);

/// Why such a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PassfileError {
    /// It cannot be read.
    #[error("names the passfile {}, which cannot be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    /// It has no password for the address.
    #[error(
        "names the passfile {}, which has no line for its hosts, database and user; expected HOST:PORT:DATABASE:USER:PASSWORD, where the first four may be *", .0.display()
    )]
    NoLine(PathBuf),
}

impl Passfile {
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The password in the first line that is for all hosts of the address.
    pub fn password(&self, config: &Config) -> Result<Vec<u8>, PassfileError> {
        let content = fs::read(&self.0);
        let content = content.map_err(|err| PassfileError::Unreadable(self.0.clone(), err))?;
        let mut lines = content.split(|byte| *byte == b'\n');
        let found = lines.find_map(|line| password(line, config));
        found.ok_or_else(|| PassfileError::NoLine(self.0.clone()))
    }
}

/// The password in a line, if it is for this address.
fn password(line: &[u8], config: &Config) -> Option<Vec<u8>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.starts_with(b"#") {
        return None;
    }
    let fields = fields(line);
    let [host, port, database, user, password] = fields.as_slice() else {
        return None;
    };
    let is = |field: &Field, value: &str| field.is_any || field.text == value.as_bytes();
    let ports = config.get_ports();
    let mut hosts = config.get_hosts().iter().enumerate();
    let is_for_all = hosts.all(|(index, name)| {
        let number = ports.get(index).or(ports.first()).copied();
        let number = number.unwrap_or(5432).to_string();
        let is_host = match name {
            Host::Tcp(name) => is(host, name),
            // The name of a socket, for PostgreSQL's own clients.
            Host::Unix(path) => is(host, "localhost") || is(host, &path.to_string_lossy()),
        };
        is_host && is(port, &number)
    });
    let is_for_address = is_for_all
        && is(database, config.get_dbname().unwrap_or_default())
        && is(user, config.get_user().unwrap_or_default());
    (is_for_address && !password.text.is_empty()).then(|| password.text.clone())
}

/// A field of a line.
#[derive(Debug, Default)]
struct Field {
    text: Vec<u8>,
    /// Whether it is a `*` that follows no backslash.
    is_any: bool,
}

fn fields(line: &[u8]) -> Vec<Field> {
    let mut fields = vec![Field::default()];
    let mut bytes = line.iter();
    while let Some(byte) = bytes.next() {
        let is_last = fields.len() == 5;
        if *byte == b':' && !is_last {
            fields.push(Field::default());
            continue;
        }
        let field = fields.last_mut().expect("there is always one");
        field.is_any = *byte == b'*' && field.text.is_empty();
        if *byte == b'\\' {
            field.text.extend(bytes.next());
        } else {
            field.text.push(*byte);
        }
    }
    fields
}

/// Connects with the password that is in the file at that time.
pub(super) struct Connecting<C> {
    pub inner: C,
    pub passfile: Option<Passfile>,
}

impl<C: Connect> Connect for Connecting<C> {
    fn connect(&self, config: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        let mut config = config.clone();
        if let Some(passfile) = &self.passfile {
            match passfile.password(&config) {
                Ok(password) => {
                    config.password(password);
                }
                // The server decides whether it needs one.
                Err(err) => warn!("the address of the database {err}"),
            }
        }
        self.inner.connect(&config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "postgres://ann@one:5433,two:5433/events";

    fn found(line: &str) -> Option<String> {
        let password = password(line.as_bytes(), &ADDRESS.parse().unwrap());
        password.map(|password| String::from_utf8(password).unwrap())
    }

    #[test]
    fn the_first_line_for_all_hosts_has_the_password() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passfile");
        let passfile = Passfile::new(path.clone());
        let config = ADDRESS.parse().unwrap();
        assert!(matches!(
            passfile.password(&config),
            Err(PassfileError::Unreadable(..))
        ));
        for (content, expected) in [
            (
                "# *:*:*:*:no\none:*:*:*:no\n*:5433:events:ann:yes\n*:*:*:*:late\n",
                Some("yes"),
            ),
            ("*:*:*:*:with\r\n", Some("with")),
            ("*:*:*:bob:no\n", None),
            ("", None),
        ] {
            fs::write(&path, content).unwrap();
            let found = passfile.password(&config).ok();
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{content:?}");
        }
    }

    #[test]
    fn a_backslash_protects_a_colon_and_a_star() {
        for (line, expected) in [
            (r"*:*:*:*:a\:b\\c", Some(r"a:b\c")),
            ("*:*:*:*:a:b", Some("a:b")),
            (r"\*:*:*:*:a", None),
            ("*:*:*:*:", None),
            ("*:*:*:a", None),
            ("*:5432:*:*:a", None),
            ("*:*:events:ann:*", Some("*")),
        ] {
            assert_eq!(found(line).as_deref(), expected, "{line}");
        }
    }
}
