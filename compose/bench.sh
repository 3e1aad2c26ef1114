#!/usr/bin/env bash
# The benchmark: nats-server, aggregator and publisher as processes on this machine, every write synced, every count
# checked.
#
#   bench.sh [--events N] [--topics T] [--page] [--json]
#
#   --events N   events in the end-to-end phase (1000000); the HTTP phases send 40 % and 6 % of N, but at least 20,000
#                and 5,000
#   --topics T   topics that the events are spread over (10)
#   --page       keep the live page open in a headless Chromium, which must be on PATH; the phases begin once it has
#                started and uses less than a fifth of a core
#   --json       print one JSON object instead of the table
#
# Phases, on one store: publisher to JetStream to store at full speed; the time from POST /publish until GET /events
# returns the event, under a load of 1,000 events/s; POST /publish with batches of 100 over 8 connections; POST /publish
# with single events over 64 connections. CPU seconds and peak memory are reported for each process and phase. The exit
# code is 1 if a count differs.
#
# It works in its own directory under target/, on its own ports, and leaves nothing behind.
# Environment: AGGREGATOR_PORT, NATS_PORT and NATS_MONITOR_PORT set the ports; by default free ones are chosen.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. compose/prepare.sh
. compose/processes.sh

events=1000000 topics=10 page='' json=''
while (($#)); do
  case $1 in
    --events | --topics)
      [[ ${2:-} =~ ^[1-9][0-9]{0,9}$ ]] || { say "$1 takes a number greater than 0"; exit 2; }
      if [[ $1 == --events ]]; then events=$2; else topics=$2; fi
      shift
      ;;
    --page) page=yes ;;
    --json) json=yes ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit ;;
    *) say "unknown argument $1; see --help"; exit 2 ;;
  esac
  shift
done
[[ -r /proc/self/stat ]] || fail "this system has no /proc, which is needed to measure CPU time and memory"

target=${CARGO_TARGET_DIR:-target} binaries=${CARGO_TARGET_DIR:-target}/dist
mkdir -p "$target"
scratch=$(mktemp -d "$target/bench.XXXXXX")

# However this script ends, nothing that it started outlives it.
clean_up() {
  local status=$? name
  set +e
  trap '' INT TERM HUP
  if ((status == 130 || status == 143)); then
    say "stopping"
  elif ((status != 0)); then
    tail -n 20 "$scratch"/*.log >&2
  fi
  for name in build browser publisher aggregator nats; do stop "$name"; done
  rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# free_port: prints a port on which nothing listens, below the range that the system uses for outgoing connections.
free_port() {
  local port
  for _ in {1..100}; do
    port=$((20000 + RANDOM % 10000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
  done
  fail "found no free port"
}

# ---- resource usage --------------------------------------------------------------------------------------------------

ticks=$(getconf CLK_TCK)
declare -A cpu=() peak=()
# The processes whose usage is reported. The browser is many, which share memory, so it has no peak.
measured=(nats aggregator publisher)
if [[ -n $page ]]; then measured+=(browser); fi

# measure NAME: records the CPU time of the process in clock ticks and its peak memory in KiB. If it has ended, the
# previous values are kept.
measure() {
  local stat status pid=${pids[$1]}
  stat=$(<"/proc/$pid/stat") && status=$(<"/proc/$pid/status") || return 0
  # The second field, the program's name in parentheses, may contain spaces. The text after it begins with the third.
  read -ra stat <<<"${stat##*) }"
  [[ $status =~ VmHWM:[[:space:]]*([0-9]+) ]] || return 0
  cpu[$1]=$((stat[11] + stat[12])) peak[$1]=${BASH_REMATCH[1]}
} 2>/dev/null

# browser_ticks: prints the CPU time of all processes of the browser, in clock ticks.
browser_ticks() {
  # Without the program's name in parentheses, which may contain spaces, the third field is the process group.
  { cat /proc/[0-9]*/stat 2>/dev/null || true; } | sed 's/.*) //' |
    awk -v group="${pids[browser]}" '$3 == group { sum += $12 + $13 } END { print sum + 0 }'
}

# phase NAME ARGUMENT...: runs the publisher with the arguments; writes its summary to NAME.json and the resource usage
# to NAME.used.
phase() {
  local name=$1 status=0 process
  local -A before=([publisher]=0)
  say "${name//_/ }: publisher ${*:2}"
  for process in nats aggregator; do
    measure "$process"
    before[$process]=${cpu[$process]}
    # Resets the peak, so that it covers only this phase.
    echo 5 2>/dev/null >"/proc/${pids[$process]}/clear_refs" || true
  done
  if [[ -n $page ]]; then before[browser]=$(browser_ticks); fi
  start publisher "$binaries/publisher" "${@:2}" --json >"$scratch/$name.json" 2>"$scratch/publisher.log"
  while kill -0 "${pids[publisher]}" 2>/dev/null; do
    measure publisher
    sleep 0.05
  done
  ended publisher || status=$?
  for process in nats aggregator; do measure "$process"; done
  if [[ -n $page ]]; then cpu[browser]=$(browser_ticks); fi
  for process in "${measured[@]}"; do
    echo "$process $((cpu[$process] - before[$process])) ${peak[$process]:-}"
  done | awk -v ticks="$ticks" '{ printf "%s %.2f%s\n", $1, $2 / ticks, (NF > 2 ? sprintf(" %.0f", $3 / 1024) : "") }' >"$scratch/$name.used"
  if ((status != 0)); then fail "${name//_/ } failed"; fi
}

# ---- the live page ---------------------------------------------------------------------------------------------------

# Succeeds once the page is loaded: it then opens the tail.
follows() { http_get "$aggregator_port" /metrics | grep -q '^aggregator_http_requests_total{route="/events/tail"'; }

# Succeeds if the browser has started, so that what is measured is the cost of a page that is open, not of opening it.
is_settled() {
  local before
  before=$(browser_ticks)
  sleep 1
  ((5 * ($(browser_ticks) - before) < ticks))
}

open_page() {
  local browser
  # shellcheck disable=SC2054
  local options=(--headless=new --window-size=1440,1000 --user-data-dir="$scratch/browser" --remote-debugging-port=0)
  browser=$(command -v chromium || command -v google-chrome || command -v chrome) ||
    fail "--page needs chromium or google-chrome on PATH (Debian, Ubuntu: apt-get install chromium)"
  # Chromium's sandbox does not run as root.
  if [[ $EUID == 0 ]]; then options+=(--no-sandbox); fi
  start browser "$browser" "${options[@]}" "$url/" >"$scratch/browser.log" 2>&1
  await browser follows
  await browser is_settled
  say "the live page is open in $("$browser" --version)"
}

# ---- output ----------------------------------------------------------------------------------------------------------

# figure PHASE FIELD [DIGITS]: prints a number from the phase's summary, rounded to DIGITS decimals (0).
figure() {
  sed -n "s/.*\"$2\":\([-0-9.e]*\).*/\1/p" "$scratch/$1.json" | xargs printf "%'.${3:-0}f"
}

# percentiles PHASE FIELD: prints p50 and p99, in milliseconds.
percentiles() {
  sed -n "s/.*\"$2\":{\"p50\":\([-0-9.e]*\),\"p99\":\([-0-9.e]*\)}.*/\1 \2/p" "$scratch/$1.json" |
    awk '{ printf "p50 %.1f ms, p99 %.1f ms", $1, $2 }'
}

# counted PHASE: prints how exact the counts are. If retries may have added copies, they are verified only as a range.
counted() {
  local doubled
  doubled=$(figure "$1" possibly_doubled)
  if [[ $doubled == 0 ]]; then echo "every count exact"; else echo "counts exact except for up to $doubled copies that retries may have added"; fi
}

phases=(end_to_end latency http_batches http_singles)

show_table() {
  local row='%-16s %s\n' name used
  # shellcheck disable=SC2059
  {
    printf "$row" machine "$cores x $processor; a write of 4 KiB and its sync take $sync_ms ms" \
      versions "$broker; $versions" \
      synced "each write: nats sync_interval $nats_sync, SQLite synchronous=FULL"
    echo
    printf "$row" 'end to end' "$(figure end_to_end processed_per_second) events/s from first send to last commit" \
      '' "$events events in $topics topics, 30 % duplicates, $(counted end_to_end)" \
      '' "PubAck at this speed $(percentiles end_to_end puback_ms)"
    printf "$row" latency "from POST /publish to GET /events $(percentiles latency visible_ms)" \
      '' "to the response of POST /publish $(percentiles latency answer_ms)" \
      '' "under a load of $(figure latency background_events_per_second) events/s"
    for name in http_batches http_singles; do
      printf "$row" "${name//_/ }" "$(figure "$name" events_per_second) events/s accepted, $(figure "$name" per_second) requests/s" \
        '' "responses $(percentiles "$name" answer_ms); $(figure "$name" sent) events, $(counted "$name")"
    done
    echo
    printf '%-16s' 'CPU s, peak MiB'
    printf ' %20s' "${measured[@]}"
    echo
  }
  for name in "${phases[@]}"; do
    mapfile -t used < <(awk '{ printf "%.2f s%s\n", $2, (NF > 2 ? ", " $3 " MiB" : "") }' "$scratch/$name.used")
    printf '%-16s' "${name//_/ }"
    printf ' %20s' "${used[@]}"
    echo
  done
}

show_json() {
  local name separator=''
  printf '{"events":%d,"topics":%d,"cores":%d,"processor":"%s","sync_ms":%s,' "$events" "$topics" "$cores" "$processor" "$sync_ms"
  printf '"versions":"%s; %s","nats_sync_interval":"%s","sqlite_synchronous":"FULL"' "$broker" "$versions" "$nats_sync"
  for name in "${phases[@]}"; do printf ',"%s":%s' "$name" "$(<"$scratch/$name.json")"; done
  printf ',"used":{'
  for name in "${phases[@]}"; do
    awk -v name="$separator\"$name\"" '
      BEGIN { printf "%s:{", name }
      { printf "%s\"%s\":{\"cpu_seconds\":%s%s}", (NR > 1 ? "," : ""), $1, $2, (NF > 2 ? ",\"peak_memory_mib\":" $3 : "") }
      END { printf "}" }' "$scratch/$name.used"
    separator=,
  done
  echo '}}'
}

# ----------------------------------------------------------------------------------------------------------------------

need_cargo
need_broker
say "building"
run build cargo build --profile dist --locked --package aggregator --package publisher

cores=$(nproc)
processor=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1 | tr -d '"')
broker=$(nats-server --version)
versions="$("$binaries/aggregator" --version), $("$binaries/publisher" --version)"
nats_sync=$(sed -n 's/^ *sync_interval: *//p' compose/nats.conf)
sync_ms=$(LC_ALL=C dd if=/dev/zero of="$scratch/sync" bs=4k count=200 oflag=dsync 2>&1 |
  sed -n 's/.*copied, \([0-9.e-]*\) s,.*/\1/p' | awk '{ printf "%.2f", $1 * 1000 / 200 }')
[[ $(stat -f -c %T "$scratch") != tmpfs ]] || say "$target is in memory, where syncing costs nothing: set CARGO_TARGET_DIR to a directory on a disk"

aggregator_port=${AGGREGATOR_PORT:-$(free_port)} nats_port=${NATS_PORT:-$(free_port)} monitor_port=${NATS_MONITOR_PORT:-$(free_port)}
url=http://127.0.0.1:$aggregator_port nats_url=nats://127.0.0.1:$nats_port
start nats nats-server --config compose/nats.conf --store_dir "$scratch/nats" \
  --addr 127.0.0.1 --port "$nats_port" --http_port "$monitor_port" >"$scratch/nats.log" 2>&1
await nats http_get "$monitor_port" /healthz
start aggregator "$binaries/aggregator" serve --listen "127.0.0.1:$aggregator_port" --nats-url "$nats_url" \
  --data-dir "$scratch/data" >"$scratch/aggregator.log" 2>&1
await aggregator "$binaries/aggregator" healthcheck --listen "127.0.0.1:$aggregator_port"

if [[ -n $page ]]; then open_page; fi

# The minimums keep the percentiles meaningful if --events is small. The last phase sends fewer events, because each of
# them takes a request of its own.
at_least() { echo $(($1 > $2 ? $1 : $2)); }
phase end_to_end generate --count "$events" --topics "$topics" --nats-url "$nats_url" --verify "$url"
phase latency latency --url "$url" --rate 1000 --samples 300
phase http_batches http --url "$url" --connections 8 --events-per-request 100 --topics "$topics" --verify \
  --count "$(at_least 20000 $((events * 4 / 10)))"
phase http_singles http --url "$url" --connections 64 --events-per-request 1 --topics "$topics" --verify \
  --count "$(at_least 5000 $((events * 6 / 100)))"
if [[ -n $json ]]; then show_json; else show_table; fi
