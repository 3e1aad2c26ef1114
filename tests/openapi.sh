#!/usr/bin/env bash
# Tests an aggregator against its own /openapi.json: sends valid and invalid requests to each operation, and checks the
# responses against the document.
#
#   openapi.sh [--max-examples N] [ARGUMENT...]
#
# N (200) requests are generated for each operation, in addition to those with boundary values. ARGUMENTs are passed to
# schemathesis: `openapi.sh --include-path /events` checks one path. tests/openapi.toml lists the exceptions with
# reasons. The aggregator is a debug build with its own broker, store and ports. Needs Python 3.10 or later.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. compose/prepare.sh
. compose/processes.sh

if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit; fi
examples=200
if [[ ${1:-} == --max-examples ]]; then
  [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || fail "--max-examples takes a number, not ${2:-nothing}"
  examples=$2
  shift 2
fi
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
scratch=$(mktemp -d)
finish() {
  local status=$?
  trap - EXIT
  stop aggregator || true
  stop nats || true
  if ((status != 0)); then tail -n 20 "$scratch"/*.log >&2 || true; fi
  rm -rf "$scratch"
  exit "$status"
}
trap finish EXIT

# need_schemathesis: installs the tool in a virtual environment in the target directory, unless it is already there.
need_schemathesis() {
  local package=schemathesis==4.32.5 python=$target/schemathesis
  schemathesis=$python/bin/schemathesis
  if [[ -e $python/made-of && $(<"$python/made-of") == "$package" ]]; then return; fi
  rm -rf "$python"
  say "creating a virtual environment with $package"
  python3 -m venv "$python" >/dev/null 2>&1 || install_packages python3-venv || true
  # shellcheck disable=SC2015
  python3 -m venv "$python" >"$scratch/python.log" 2>&1 &&
    "$python/bin/pip" install --quiet --disable-pip-version-check "$package" >>"$scratch/python.log" 2>&1 ||
    fail "Python or $package is not available"
  echo "$package" >"$python/made-of"
}

# text_after TEXT FILE: prints what follows TEXT in FILE, up to the next double quote or space; fails if there is none.
text_after() {
  local found
  found=$(sed -n "s|.*$1\([^\" ]*\).*|\1|p" "$2" | head -n 1)
  [[ -n $found ]] && echo "$found"
}

need_cargo
need_broker
need_schemathesis
build_tested "$target"

start nats nats-server --config compose/server.conf --store_dir "$scratch/nats" \
  --addr 127.0.0.1 --port -1 --http_port -1 >"$scratch/nats.log" 2>&1
await nats text_after 'client connections on ' "$scratch/nats.log"
nats=$(text_after 'client connections on ' "$scratch/nats.log")
start aggregator "$target/debug/aggregator" serve --listen 127.0.0.1:0 --data-dir "$scratch/data" \
  --nats-url "nats://$nats" >"$scratch/aggregator.log" 2>&1
await aggregator text_after 'http://' "$scratch/aggregator.log"
address=$(text_after 'http://' "$scratch/aggregator.log")
await aggregator http_get "${address##*:}" /health

# arrive SUBJECT BODY: publishes a message directly to the broker.
arrive() {
  exec 3<>"/dev/tcp/127.0.0.1/${nats##*:}"
  printf 'CONNECT {"verbose":false}\r\nPUB %s %d\r\n%s\r\nPING\r\n' "$1" "${#2}" "$2" >&3
  timeout 10 grep -q -m 1 PONG <&3 || fail "the broker does not accept $1"
  exec 3>&-
}
# One stored event, one conflict and one rejected arrival. Generated requests may not create the last two.
event='{"topic":"readme","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"curl","payload":{"amount":1.50}}'
arrive events.readme "$event"
arrive events.readme "${event/1.50/2.50}"
arrive events.readme "${event/readme/elsewhere}"
seen() { http_get "${address##*:}" /stats | grep -q '"rejected":1.*"conflicts":1.*"pending":0'; }
await aggregator seen

# The tool keeps its state in the working directory, which is temporary so that a run does not depend on earlier ones.
root=$PWD
cd "$scratch"
SCHEMATHESIS_HOOKS=$root/tests/openapi.py "$schemathesis" --config-file "$root/tests/openapi.toml" \
  run "http://$address/openapi.json" --max-examples "$examples" "$@"
