//! What `--help` says beside the flags: what the program is, a first command, and examples for each of its commands.

pub const ABOUT: &str = "\
Sends events to the aggregator and checks that each was counted right, and shows what the aggregator has.

With nats-server and the aggregator running, this sends 20,000 events, of which 30 % repeat an earlier one, and proves
that every one of them was counted:

  publisher generate --verify http://127.0.0.1:8080

It sends generated events or those of files over NATS JetStream or HTTP; stats, query and tail print one JSON object a
line.";

pub const EXIT_CODES: &str = "\
Without a command it generates: `publisher --count 5` is `publisher generate --count 5`.
Each command has examples: publisher help query.

Exit codes: 0 all sent, and exact where verified, or all printed; 1 a difference or a failure; 2 wrong usage.";

pub const GENERATE: &str = "\
Examples:
  publisher generate --count 1000 --duplicates 0.5 --verify http://127.0.0.1:8080
  publisher generate --count 0 --rate 100

Ctrl-C lets it end well: what was sent is verified. A second one ends it at once.";

pub const SEND: &str = "\
Examples:
  publisher send events.ndjson --verify http://127.0.0.1:8080
  zcat events.ndjson.gz | publisher send - --skip-invalid";

pub const HTTP: &str = "\
Example:
  publisher http --connections 8 --events-per-request 100 --count 100000 --verify";

pub const LATENCY: &str = "\
Example:
  publisher latency --rate 1000 --samples 300";

pub const STATS: &str = "\
Example:
  publisher stats | jq '{received, unique_processed, pending}'";

pub const QUERY: &str = "\
Examples:
  publisher query --topic orders --limit 10
  publisher query --since 2026-01-31T00:00:00Z --payload user.name=ann | jq -r .event_id
  publisher query --topic orders --order asc >orders.ndjson

Exit code 1 says that what was printed is not all.";

pub const TAIL: &str = "\
Examples:
  publisher tail
  publisher tail --topic orders | jq .payload

A lost connection is made again, and the events go on after the last one printed.";

pub const COMPLETIONS: &str = "\
Example:
  publisher completions bash >~/.local/share/bash-completion/completions/publisher

For zsh write a file _publisher into a directory of $fpath, for fish ~/.config/fish/completions/publisher.fish.";
