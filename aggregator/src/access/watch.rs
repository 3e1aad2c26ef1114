//! Rereads the tokens file.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    file::{self, FileError, Tokens},
    tokens::Access,
};
use crate::{
    health::{Health, Notice},
    reread,
};

/// Replaces the tokens when the file has changed. If it cannot be read, the tokens stay as they are, and the log and `/health` say
/// so.
///
/// # Errors
/// If SIGHUP cannot be handled.
pub async fn keep_reading(
    path: PathBuf,
    access: Access,
    health: Health,
    token: CancellationToken,
) -> anyhow::Result<()> {
    let file = path.clone();
    let read = move || file::own_text(&file).map_err(reason);
    let take = move |text: Result<String, String>| {
        let tokens = text.and_then(|text| Tokens::read_from(&path, &text).map_err(reason));
        replace(tokens, &access, &health);
    };
    reread::keep_reading("the tokens file", None, read, take, token).await
}

fn reason(err: FileError) -> String {
    format!("{:#}", anyhow::Error::new(err))
}

fn replace(read: Result<Tokens, String>, access: &Access, health: &Health) {
    let notice = match read {
        Ok(tokens) => {
            info!(tokens = tokens.entries().len(), "read the tokens file");
            if tokens.entries().is_empty() {
                warn!("the tokens file has no tokens, so nobody has access");
            }
            access.replace(tokens);
            None
        }
        Err(reason) => Some(format!(
            "{reason}; the tokens that were read before stay valid"
        )),
    };
    health.notices(Notice::Tokens, notice);
}
