//! What `--help` says beside the flags: what the program is, a first command, and an example for each of its commands.

pub(super) const ABOUT: &str = "\
Takes events from NATS JetStream, stores each exactly once, and answers for every one of them over HTTP.

Start it beside a NATS server that has JetStream (nats-server --jetstream), and open http://127.0.0.1:8080 in a browser:

  aggregator --data-dir ./data

Without a command it serves.";

pub(super) const EXIT_CODES: &str = "\
Each command has an example: aggregator help verify.

Exit codes: 0 stopped as told or done, 1 a failure, 2 a wrong setting.";

pub(super) const SERVE: &str = "\
Examples:
  aggregator serve --data-dir ./data
  aggregator serve --listen 0.0.0.0:8080 --nats-url nats://broker:4222 --log-format json

SIGTERM and Ctrl-C let it end well: what is in hand is committed. A second one ends it at once.";

pub(super) const HEALTHCHECK: &str = "\
Example:
  aggregator healthcheck --listen 127.0.0.1:8080 && echo healthy";

pub(super) const VERIFY: &str = "\
Examples:
  aggregator verify --data-dir ./data
  aggregator verify --data-dir ./data --nats-url nats://127.0.0.1:4222 --json | jq .differences";

pub(super) const BACKUP: &str = "\
Example:
  aggregator backup --data-dir ./data events.backup

To restore it: stop the aggregator, remove aggregator.db-wal and aggregator.db-shm, put the copy in the place of
aggregator.db, and start it again.";

pub(super) const ACKNOWLEDGE_MISSING: &str = "\
Example:
  curl -s http://127.0.0.1:8080/missing && aggregator acknowledge-missing";

pub(super) const COMPLETIONS: &str = "\
Example:
  aggregator completions bash >~/.local/share/bash-completion/completions/aggregator

For zsh write a file _aggregator into a directory of $fpath, for fish ~/.config/fish/completions/aggregator.fish.";
