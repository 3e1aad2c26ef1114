//! The texts of `--help` other than the flags: a description, a first command, and an example for each command.

pub(super) const ABOUT: &str = "\
Consumes events from NATS JetStream, stores each exactly once, and serves them over HTTP.

Start a NATS server with JetStream (nats-server --jetstream), then the aggregator, and open http://127.0.0.1:8080 in a browser:

  aggregator --data-dir ./data

The default command is serve: without a command, the flags of serve are accepted (aggregator serve --help).";

pub(super) const USAGE: &str = "\
aggregator [OPTIONS]
       aggregator <COMMAND>";

pub(super) const EXIT_CODES: &str = "\
For the examples of a command: aggregator help verify.

Exit codes: 0 done, or stopped by a signal; 1 failure; 2 invalid setting; 3 doctor: something needs attention.";

pub(super) const SERVE: &str = "\
Examples:
  aggregator serve --data-dir ./data
  aggregator serve --listen 0.0.0.0:8080 --tokens tokens.toml --nats-url nats://broker:4222 --log-format json

SIGTERM and Ctrl-C stop it gracefully: batches in memory are committed. A second signal stops it immediately.";

pub(super) const HEALTHCHECK: &str = "\
Example:
  aggregator healthcheck --listen 127.0.0.1:8080 && echo healthy";

pub(super) const VERIFY: &str = "\
Examples:
  aggregator verify --data-dir ./data
  aggregator verify --data-dir ./data --nats-url nats://127.0.0.1:4222 --json | jq .differences
  AGGREGATOR_STORE='postgres://aggregator:PASSWORD@db1,db2/events?sslmode=verify-full' aggregator verify";

pub(super) const DOCTOR: &str = "\
Examples:
  aggregator doctor
  aggregator doctor --url http://127.0.0.1:8080 --nats-url nats://127.0.0.1:4222 --data-dir ./data --json doctor.json
  AGGREGATOR_STORE='postgres://aggregator:PASSWORD@db1,db2/events?sslmode=verify-full' aggregator doctor

It first prints what needs attention, with what to do about it, and what it could not read. Neither the text nor the JSON
contains passwords, tokens or payloads. For an aggregator that asks for a token, give one with admin in AGGREGATOR_TOKEN or with --token-file.";

pub(super) const BACKUP: &str = "\
Example:
  aggregator backup --data-dir ./data events.backup

To restore it: stop the aggregator, remove aggregator.db-wal and aggregator.db-shm, put the copy in place of
aggregator.db, and start it again.";

pub(super) const STORE_COPY: &str = "\
Example:
  AGGREGATOR_STORE='postgres://aggregator:PASSWORD@db/events?sslmode=verify-full' aggregator store copy --from ./data

The directory is not changed. A run that is interrupted is continued by the next one. Then start the service with --store and the
same --stream and --durable, and no longer one in the directory.";

pub(super) const ACKNOWLEDGE_MISSING: &str = "\
Example:
  curl -s http://127.0.0.1:8080/missing && aggregator acknowledge-missing";

pub(super) const STORE: &str = "\
Examples:
  export AGGREGATOR_STORE='postgres://aggregator:PASSWORD@db1,db2/events?sslmode=verify-full'
  aggregator store init --dry-run
  aggregator store init
  aggregator store copy --from ./data";

pub(super) const TOKEN: &str = "\
Examples:
  aggregator token create orders-service --publish 'orders.*' --expires 90d
  aggregator token create dashboard --read '*'
  aggregator token list
  aggregator token revoke orders-service

The token is printed to standard output. Send it as the header Authorization: Bearer TOKEN, or as the password of Basic
with any user name. Start the service with --tokens and the same file.";

pub(super) const COMPLETIONS: &str = "\
Example:
  aggregator completions bash >~/.local/share/bash-completion/completions/aggregator

For zsh, write the script to _aggregator in a directory of $fpath; for fish, to
~/.config/fish/completions/aggregator.fish.";
