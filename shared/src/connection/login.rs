//! How a client proves to the broker who it is. What is in a file is read again at each connect, so that it can be replaced
//! while the program runs.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use async_nats::{Auth, AuthError, ConnectOptions};
use nkeys::KeyPair;
use tokio::task::spawn_blocking;

use crate::command_line::failure;

/// Most bytes that are read of a file; credentials are a few kilobytes.
const MOST: u64 = 64 * 1024;

/// A login. It is neither `Debug` nor `Display`, because it may contain secrets.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// A user and a password.
    Password { user: String, password: String },
    /// A token.
    Token(String),
    /// The password of a user, or a token if there is no user, in a file.
    InFile { user: Option<String>, file: PathBuf },
    /// The seed of an nkey, in a file.
    Nkey(PathBuf),
    /// A JWT and the seed of its nkey, in a file.
    Creds(PathBuf),
}

impl Login {
    /// Options with this login.
    pub fn options(&self) -> ConnectOptions {
        match self {
            Self::Password { user, password } => {
                ConnectOptions::with_user_and_password(user.clone(), password.clone())
            }
            Self::Token(token) => ConnectOptions::with_token(token.clone()),
            Self::InFile { .. } | Self::Nkey(_) | Self::Creds(_) => {
                let login = self.clone();
                ConnectOptions::with_auth_callback(move |nonce| {
                    let login = login.clone();
                    async move {
                        let proving = spawn_blocking(move || login.prove(&nonce));
                        let proved = proving.await.map_err(AuthError::new)?;
                        proved.map_err(AuthError::new)
                    }
                })
            }
        }
    }

    /// The file with the secret, and its flag.
    pub fn file(&self) -> Option<(&'static str, &Path)> {
        match self {
            Self::Password { .. } | Self::Token(_) => None,
            Self::InFile { file, .. } => Some((PASSWORD_FILE, file)),
            Self::Nkey(file) => Some((NKEY, file)),
            Self::Creds(file) => Some((CREDS, file)),
        }
    }

    /// What the broker is sent in response to its nonce.
    ///
    /// # Errors
    /// A human-readable message that names the flag and its file, without any of its content.
    pub fn prove(&self, nonce: &[u8]) -> Result<Auth, String> {
        let mut auth = Auth::new();
        match self {
            Self::Password { user, password } => {
                auth.username = Some(user.clone());
                auth.password = Some(password.clone());
            }
            Self::Token(token) => auth.token = Some(token.clone()),
            Self::InFile { user, file } => {
                let secret = read(PASSWORD_FILE, file)?;
                let secret = secret.trim_end_matches(['\r', '\n']);
                if secret.is_empty() || secret.contains(['\r', '\n']) {
                    return Err(wrong(PASSWORD_FILE, file, "expected one line"));
                }
                match user {
                    Some(user) => {
                        auth.username = Some(user.clone());
                        auth.password = Some(secret.to_owned());
                    }
                    None => auth.token = Some(secret.to_owned()),
                }
            }
            Self::Nkey(file) => {
                let text = read(NKEY, file)?;
                let seed = text.lines().map(str::trim).find(|line| is_seed(line));
                let seed = seed.ok_or_else(|| wrong(NKEY, file, NO_SEED))?;
                let key = key(NKEY, file, seed)?;
                auth.signature = Some(signed(NKEY, file, &key, nonce)?);
                auth.nkey = Some(key.public_key());
            }
            Self::Creds(file) => {
                let text = read(CREDS, file)?;
                let (jwt, seed) = split(&text)
                    .ok_or_else(|| wrong(CREDS, file, "it has no user JWT and nkey seed"))?;
                let key = key(CREDS, file, seed)?;
                auth.signature = Some(signed(CREDS, file, &key, nonce)?);
                auth.jwt = Some(jwt.to_owned());
            }
        }
        Ok(auth)
    }

    /// The error text for a broker that refuses the login, with the remedy.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Password { .. } => {
                "the broker refuses the user and password in --nats-url: correct them (special characters must be percent-encoded, @ as %40)"
            }
            Self::Token(_) => {
                "the broker refuses the token in --nats-url: correct it, or use nats://USER:PASSWORD@HOST (special characters must be percent-encoded)"
            }
            Self::InFile { user: Some(_), .. } => {
                "the broker refuses the user in --nats-url with the password in --nats-password-file: correct them; the file is read again at each attempt"
            }
            Self::InFile { user: None, .. } => {
                "the broker refuses the token in --nats-password-file: correct it, or name the user of the password with --nats-url nats://USER@HOST"
            }
            Self::Nkey(_) => {
                "the broker refuses the nkey in --nats-nkey: configure its public key as a user of the broker, or use another one"
            }
            Self::Creds(_) => {
                "the broker refuses the credentials in --nats-creds: they may be expired, revoked or those of another broker"
            }
        }
    }
}

/// The error text for a broker that refuses a client without a login.
pub(super) const ADVICE: &str = "the broker requires credentials: use --nats-url nats://USER:PASSWORD@HOST or nats://TOKEN@HOST, --nats-creds or --nats-nkey";

pub(super) const PASSWORD_FILE: &str = "--nats-password-file";
pub(super) const NKEY: &str = "--nats-nkey";
pub(super) const CREDS: &str = "--nats-creds";

const NO_SEED: &str = "it has no nkey seed of a user, which begins with SU";

/// Reads a file that a flag names.
fn read(flag: &str, file: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(MOST).read_to_string(&mut text));
    read.map_err(|err| wrong(flag, file, &format!("it cannot be read: {}", failure(&err))))?;
    Ok(text)
}

pub(super) fn wrong(flag: &str, file: &Path, why: &str) -> String {
    format!("{flag} {}: {why}", file.display())
}

fn is_seed(line: &str) -> bool {
    line.starts_with("SU")
}

fn key(flag: &str, file: &Path, seed: &str) -> Result<KeyPair, String> {
    // The error would repeat a part of the seed.
    KeyPair::from_seed(seed).map_err(|_| wrong(flag, file, "its nkey seed is not valid"))
}

fn signed(flag: &str, file: &Path, key: &KeyPair, nonce: &[u8]) -> Result<Vec<u8>, String> {
    let signed = key.sign(nonce);
    signed.map_err(|_| wrong(flag, file, "its nkey cannot sign"))
}

/// The JWT and the seed in a credentials file: each is a line between two lines of dashes.
fn split(text: &str) -> Option<(&str, &str)> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut after = |mark: &str| {
        lines.find(|line| line.starts_with("---") && line.contains(mark))?;
        lines.next().filter(|line| !line.starts_with('-'))
    };
    let jwt = after("BEGIN NATS USER JWT")?;
    let seed = after("BEGIN USER NKEY SEED").filter(|line| is_seed(line))?;
    Some((jwt, seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::TempPath {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file.into_temp_path()
    }

    /// What is sent, or the error, which must contain no secret.
    fn proved(login: &Login) -> Result<Auth, String> {
        login.prove(b"nonce").inspect_err(|wrong| {
            assert!(wrong.starts_with("--nats-"), "{wrong}");
            assert!(!wrong.contains("secret"), "{wrong}");
        })
    }

    #[test]
    fn a_password_in_a_file_is_that_of_the_user_and_otherwise_a_token() {
        let path = file("s3cret words \n");
        let login = |user: Option<&str>, file: &Path| Login::InFile {
            user: user.map(str::to_owned),
            file: file.to_owned(),
        };
        let auth = proved(&login(Some("ann"), &path)).unwrap();
        assert_eq!(auth.username.as_deref(), Some("ann"));
        assert_eq!(auth.password.as_deref(), Some("s3cret words "));
        let auth = proved(&login(None, &path)).unwrap();
        assert_eq!((auth.username, auth.password), (None, None));
        assert_eq!(auth.token.as_deref(), Some("s3cret words "));
        for text in ["", "\n", "secret\nsecret\n"] {
            assert!(proved(&login(None, &file(text))).is_err(), "{text:?}");
        }
        assert!(proved(&login(None, Path::new("/nowhere"))).is_err());
    }

    #[test]
    fn a_file_is_read_again_each_time() {
        let path = file("one");
        let login = Login::InFile {
            user: None,
            file: path.to_path_buf(),
        };
        std::fs::write(&path, "two\n").unwrap();
        assert_eq!(proved(&login).unwrap().token.as_deref(), Some("two"));
    }

    #[test]
    fn a_nonce_is_signed_with_the_key_of_the_seed() {
        let key = KeyPair::new_user();
        let seed = key.seed().unwrap();
        let nkey = file(&format!("# made today\n{seed}\n{}\n", key.public_key()));
        let auth = proved(&Login::Nkey(nkey.to_path_buf())).unwrap();
        assert_eq!(auth.nkey, Some(key.public_key()));
        key.verify(b"nonce", &auth.signature.unwrap()).unwrap();

        let creds = file(&format!(
            "-----BEGIN NATS USER JWT-----\r\neyJ.a.b\r\n------END NATS USER JWT------\r\n\r\n\
             ************************* IMPORTANT *************************\r\n\
             -----BEGIN USER NKEY SEED-----\r\n{seed}\r\n------END USER NKEY SEED------\r\n"
        ));
        let auth = proved(&Login::Creds(creds.to_path_buf())).unwrap();
        assert_eq!(auth.jwt.as_deref(), Some("eyJ.a.b"));
        assert_eq!(auth.nkey, None);
        key.verify(b"nonce", &auth.signature.unwrap()).unwrap();
    }

    #[test]
    fn a_file_without_a_key_is_refused_and_not_repeated() {
        let seed = KeyPair::new_user().seed().unwrap();
        let jwt = "-----BEGIN NATS USER JWT-----\nsecret.a.b\n------END NATS USER JWT------\n";
        for text in ["", "secret", "SUsecret", &seed[1..], jwt] {
            let path = file(text);
            assert!(proved(&Login::Nkey(path.to_path_buf())).is_err(), "{text}");
            assert!(proved(&Login::Creds(path.to_path_buf())).is_err(), "{text}");
        }
    }
}
