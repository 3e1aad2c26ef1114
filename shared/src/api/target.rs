//! How an aggregator is reached: its address, the authorities that its certificate may be of, and the token that is sent to it.

use std::{path::PathBuf, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use clap::Args;
use percent_encoding::percent_decode_str;
use reqwest::{ClientBuilder, Url, header::HeaderValue};
use rustls::ClientConfig;

use crate::{command_line::path, tls};

/// The variable with a token.
const TOKEN: &str = "AGGREGATOR_TOKEN";

/// Flags of every command that connects to an aggregator.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct Credentials {
    /// Certificates in PEM of the authorities that the aggregator's certificate at an https:// address must be of, in place of
    /// those that the system trusts
    #[arg(long, env = "AGGREGATOR_CA", value_name = "FILE", value_parser = path())]
    ca: Option<PathBuf>,

    #[command(flatten)]
    token: TokenFile,
}

/// The token to send. There is no flag for the token itself: other users of the machine see the flags of a process.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct TokenFile {
    /// File with the token to send, if the aggregator asks for one; without it, the token in the environment variable
    /// `AGGREGATOR_TOKEN` is sent
    #[arg(long, env = "AGGREGATOR_TOKEN_FILE", value_name = "FILE", value_parser = path())]
    token_file: Option<PathBuf>,
}

/// How an aggregator is reached.
#[derive(Debug, Clone)]
pub struct Target {
    url: Url,
    authorization: Option<HeaderValue>,
    tls: Option<Arc<ClientConfig>>,
}

impl Credentials {
    /// The aggregator at this address, with these credentials.
    ///
    /// # Errors
    /// One line that names the file or the variable that is wrong; it does not repeat a token.
    pub fn target(&self, url: &Url) -> Result<Target, String> {
        let tls = match url.scheme() {
            "https" => Some(Arc::new(
                tls::client(self.ca.as_deref()).map_err(|err| err.to_string())?,
            )),
            _ => None,
        };
        Ok(Target {
            authorization: match of_address(url) {
                Some(authorization) => Some(authorization),
                None => self.token.authorization()?,
            },
            url: url.clone(),
            tls,
        })
    }
}

impl TokenFile {
    /// The value of `Authorization`, if there is a token.
    ///
    /// # Errors
    /// One line that names the file or the variable that is wrong; it does not repeat a token.
    pub fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let (token, place) = match &self.token_file {
            Some(path) => {
                let token = std::fs::read_to_string(path);
                let token =
                    token.map_err(|err| format!("--token-file {}: {err}", path.display()))?;
                if token.trim().is_empty() {
                    return Err(format!("--token-file {}: it has no token", path.display()));
                }
                (token, format!("--token-file {}", path.display()))
            }
            None => match std::env::var(TOKEN) {
                Ok(token) => (token, TOKEN.to_owned()),
                Err(_) => return Ok(None),
            },
        };
        match token.trim() {
            "" => Ok(None),
            token => bearer(token)
                .map(Some)
                .ok_or_else(|| format!("{place} has no token: a token has no spaces and no lines")),
        }
    }
}

impl Target {
    /// The aggregator at this address, without flags.
    ///
    /// # Errors
    /// As [`Credentials::target`].
    pub fn new(url: &Url) -> Result<Self, String> {
        Credentials::default().target(url)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The value of `Authorization` in requests, if any.
    #[must_use]
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// How connections are encrypted, if they are.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<ClientConfig>> {
        self.tls.as_ref()
    }

    /// A client that trusts its certificate, and connects directly even if the environment names a proxy.
    pub fn client(&self) -> ClientBuilder {
        let client = reqwest::Client::builder().no_proxy();
        match &self.tls {
            Some(tls) => client.use_preconfigured_tls(ClientConfig::clone(tls)),
            None => client,
        }
    }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The value of `Authorization` for the user and the password in an address, such as a token; `None` if it has neither.
fn of_address(address: &Url) -> Option<HeaderValue> {
    let (user, password) = (address.username(), address.password());
    if user.is_empty() && password.is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password.unwrap_or_default()));
    let value = HeaderValue::try_from(format!("Basic {}", BASE64.encode(pair)));
    let mut value = value.expect("Base64 is a valid value");
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorization(url: &str, token_file: Option<PathBuf>) -> Result<Option<String>, String> {
        let credentials = Credentials {
            ca: None,
            token: TokenFile { token_file },
        };
        let target = credentials.target(&Url::parse(url).unwrap())?;
        let value = target.authorization();
        Ok(value.map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_token_is_that_of_the_address_or_of_the_file() {
        let directory = std::env::temp_dir().join(format!("target-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let good = file("good", "agg_token\n");
        let of_file = authorization("http://logs", good.clone());
        assert_eq!(of_file.unwrap().as_deref(), Some("Bearer agg_token"));
        // That of me:a:b.
        let of_address = authorization("http://me:a%3Ab@logs", good);
        assert_eq!(of_address.unwrap().as_deref(), Some("Basic bWU6YTpi"));
        for (name, text) in [("empty", " \n"), ("lines", "agg_secret\nagg_secret")] {
            let wrong = authorization("http://logs", file(name, text)).unwrap_err();
            assert!(wrong.contains(name) && !wrong.contains("secret"), "{wrong}");
        }
        assert!(authorization("http://logs", Some(directory.join("none"))).is_err());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
