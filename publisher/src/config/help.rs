//! The `--help` texts other than those of flags: what the program is, a first command, and examples for each command.

pub const ABOUT: &str = "\
Sends events to the aggregator, and verifies that every one was counted correctly.

With nats-server and the aggregator running, this sends 20,000 events, of which 30 % repeat an earlier one, and verifies
every count:

  publisher generate --verify http://127.0.0.1:8080

generate and send use NATS JetStream, http and latency use POST /publish. To read events: aggregator query.";

pub const EXIT_CODES: &str = "\
Each command has examples: publisher help COMMAND.

Exit codes: 0 everything was sent, and verified exactly if requested; 1 a difference or a failure; 2 invalid usage.";

pub const GENERATE: &str = "\
Examples:
  publisher generate --count 1000 --duplicates 0.5 --verify http://127.0.0.1:8080
  publisher generate --count 0 --rate 100

The first Ctrl-C stops sending and verifies what was sent; a second one exits immediately.";

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

pub const COMPLETIONS: &str = "\
Example:
  publisher completions bash >~/.local/share/bash-completion/completions/publisher

For zsh, write the script to _publisher in a directory of $fpath; for fish, to
~/.config/fish/completions/publisher.fish.";
