//! The settings as they are given to support: by flag, without credentials.

use std::{collections::BTreeMap, path::PathBuf};

use bytesize::ByteSize;

use super::Settings;

impl Settings {
    /// All settings by flag. The addresses of the broker and of the database are without credentials, and of the address to which spans are
    /// exported only whether there is one, because its path may contain a secret.
    #[must_use]
    pub fn shown(&self) -> BTreeMap<String, String> {
        let servers = self.servers().to_string();
        let store = self.store().map(|address| address.to_string());
        let Self {
            listen,
            allowed_hosts,
            tokens,
            tls_cert,
            tls_key,
            tls_client_ca,
            allow_anonymous,
            nats_url: _,
            nats,
            data_dir,
            store: _,
            stream,
            subjects,
            durable,
            take_over,
            stream_max_bytes,
            stream_keep_bytes,
            memory: _,
            rejected_keep_bytes,
            conflicts_keep_bytes,
            otlp_topic,
            stream_replicas,
            batch_events,
            batch_bytes,
            batch_wait_ms,
            otlp_endpoint,
            log_level,
            log_format,
        } = self;
        let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.clone());
        let is_exported = otlp_endpoint.as_ref().is_some_and(|url| !url.is_empty());
        let file = |path: Option<&PathBuf>| {
            path.map_or_else(String::new, |path| path.display().to_string())
        };
        let shown = [
            ("--listen", listen.to_string()),
            ("--allowed-hosts", allowed_hosts.join(",")),
            ("--tokens", file(tokens.as_ref())),
            ("--tls-cert", file(tls_cert.as_ref())),
            ("--tls-key", file(tls_key.as_ref())),
            ("--tls-client-ca", file(tls_client_ca.as_ref())),
            ("--allow-anonymous", allow_anonymous.to_string()),
            ("--nats-url", servers),
            ("--data-dir", data_dir.display().to_string()),
            ("--store", store.unwrap_or_default()),
            ("--stream", stream.clone()),
            ("--subjects", format!("{subjects:?}").to_lowercase()),
            ("--durable", durable.clone()),
            ("--take-over", take_over.to_string()),
            ("--stream-max-bytes", stream_max_bytes.to_string()),
            ("--stream-keep-bytes", stream_keep_bytes.to_string()),
            ("--memory", ByteSize::b(self.shares().total).to_string()),
            ("--rejected-keep-bytes", rejected_keep_bytes.to_string()),
            ("--conflicts-keep-bytes", conflicts_keep_bytes.to_string()),
            ("--otlp-topic", otlp_topic.clone()),
            ("--stream-replicas", stream_replicas.to_string()),
            ("--batch-events", batch_events.to_string()),
            ("--batch-bytes", batch_bytes.to_string()),
            ("--batch-wait-ms", batch_wait_ms.to_string()),
            (
                "--otlp-endpoint",
                if is_exported { "set" } else { "" }.to_owned(),
            ),
            ("--log-level", log_level.clone()),
            ("--log-format", format!("{log_format:?}").to_lowercase()),
        ];
        let files = nats.files().shown();
        let shown = shown.into_iter().chain(files);
        shown
            .map(|(flag, value)| (flag.to_owned(), value))
            .collect()
    }
}
