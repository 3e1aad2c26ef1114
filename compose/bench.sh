#!/usr/bin/env bash
# The benchmark: nats-server, aggregator and publisher as processes on this machine, every write synced, every count
# checked.
#
#   bench.sh [--events N] [--topics T] [--store ENGINE] [--aggregators A] [--replicas R] [--sync-ms MS] [--directory DIR]
#            [--peer] [--page] [--json]
#
#   --events N       events in each phase over JetStream (1000000); the HTTP phases send 40 % and 6 % of N, but at least
#                    20,000 and 5,000
#   --topics T       topics that the events are spread over, up to 1000000 (10)
#   --store ENGINE   sqlite, or postgres: a PostgreSQL server of its own with its default durability, shared_buffers=1GB and
#                    max_wal_size=4GB, whose programs must be installed (sqlite)
#   --aggregators A  aggregators that share the database, up to 16; HTTP requests go to the first (1)
#   --replicas R     servers of the broker, 1, 3 or 5, each of which keeps a replica of the stream (1)
#   --sync-ms MS     delay each sync of the broker and of the stores by MS milliseconds, as a slower disk would; needs strace
#   --directory DIR  keep the data in a new directory in DIR, which chooses the disk (target/)
#   --peer           also measure compose/peer.py, a consumer in Python, which needs Python 3.10 and PyPI
#   --page           keep the live page open in a headless Chromium, which must be on PATH; the phases after the broker alone
#                    begin once it has started and uses less than a fifth of a core
#   --json           print one JSON object instead of the table
#
# Phases: publisher to JetStream with no consumer, the broker alone, on a stream of its own; with --peer, publisher to
# JetStream to peer.py, in messages of 1,000 events; publisher to JetStream to the aggregator's store at full speed; the time
# from POST /publish until GET /events returns the event, under a load of 1,000 events/s; POST /publish with batches of 100
# over 8 connections; POST /publish with single events over 64 connections. CPU seconds and peak memory are reported for each
# process and phase. The exit code is 1 if a count differs.
#
# It works in its own directory, on its own ports, and leaves nothing behind.
# Environment: AGGREGATOR_PORT, NATS_PORT and NATS_MONITOR_PORT set the ports; by default free ones are chosen. PROFILE sets
# the profile of cargo (dist).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. compose/prepare.sh
. compose/processes.sh

events=1000000 topics=10 store=sqlite aggregators=1 replicas=1 delay_ms=0 directory='' peer='' page='' json=''
while (($#)); do
  case $1 in
    --events | --topics | --aggregators | --sync-ms)
      [[ ${2:-} =~ ^[1-9][0-9]{0,9}$ ]] || { say "$1 takes a number greater than 0"; exit 2; }
      case $1 in
        --events) events=$2 ;;
        --topics) topics=$2 ;;
        --aggregators) aggregators=$2 ;;
        --sync-ms) delay_ms=$2 ;;
      esac
      shift
      ;;
    --store)
      store=${2:-}
      [[ $store == sqlite || $store == postgres ]] || { say "--store takes sqlite or postgres"; exit 2; }
      shift
      ;;
    --replicas)
      replicas=${2:-}
      [[ $replicas == [135] ]] || { say "--replicas takes 1, 3 or 5"; exit 2; }
      shift
      ;;
    --directory)
      [[ -d ${2:-} ]] || { say "$1 takes a directory that exists"; exit 2; }
      directory=$2
      shift
      ;;
    --peer) peer=yes ;;
    --page) page=yes ;;
    --json) json=yes ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit ;;
    *) say "unknown argument $1; see --help"; exit 2 ;;
  esac
  shift
done
if ((aggregators > 16)); then say "--aggregators takes at most 16"; exit 2; fi
if [[ $store == sqlite ]] && ((aggregators > 1)); then say "several --aggregators share a database: --store postgres"; exit 2; fi
if [[ $store == postgres ]] && ((delay_ms > 0)); then say "--sync-ms excludes --store postgres, whose processes it does not reach"; exit 2; fi
[[ -r /proc/self/stat ]] || fail "this system has no /proc, which is needed to measure CPU time and memory"

profile=${PROFILE:-dist}
target=${CARGO_TARGET_DIR:-target} binaries=${CARGO_TARGET_DIR:-target}/$profile
mkdir -p "$target"
scratch=$(mktemp -d "${directory:-$target}/bench.XXXXXX")

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
  for name in build browser publisher peer; do stop "$name"; done
  stop_services
  rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# of PART: prints the names of the running processes of a part, as aggregator, aggregator-2, ...
of() {
  local name
  for name in "${!pids[@]}"; do
    if [[ $name == "$1" || $name == "$1"-* ]]; then echo "$name"; fi
  done
}

# stop_services: stops the broker, and all that is connected to it.
stop_services() {
  local name
  for name in $(of aggregator) $(of postgres) $(of nats) $(of peer); do
    stop "$name"
    unset "pids[$name]"
  done
}

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

# measure PART: records the CPU time of the part's processes in clock ticks and the sum of their peak memory in KiB. If one has
# ended, the previous values are kept.
measure() {
  local name pid=${pids[$1]:-0}
  if [[ $1 == postgres ]]; then
    # Each connection has a process of its own. The time of those that have ended is in that of the first.
    cpu[$1]=$({ cat /proc/[0-9]*/stat || true; } | awk -v parent="$pid" '
      { all = $0; sub(/.*\) /, ""); split(all, name, " ") }
      name[1] == parent { sum += $12 + $13 + $14 + $15 }
      $2 == parent { sum += $12 + $13 }
      END { print sum + 0 }')
    return
  fi
  local -i ticks=0 kib=0
  local stat status
  for name in $(of "$1"); do
    # Not $(<FILE): if the file is gone, the script would end there, whatever follows.
    stat=$(cat "/proc/${pids[$name]}/stat") || return 0
    status=$(cat "/proc/${pids[$name]}/status") || return 0
    # The second field, the program's name in parentheses, may contain spaces. The text after it begins with the third.
    read -ra stat <<<"${stat##*) }"
    ((${#stat[@]} > 12)) || return 0
    [[ $status =~ VmHWM:[[:space:]]*([0-9]+) ]] || return 0
    ticks+=$((stat[11] + stat[12])) kib+=${BASH_REMATCH[1]}
  done
  cpu[$1]=$ticks peak[$1]=$kib
} 2>/dev/null

# browser_ticks: prints the CPU time of all processes of the browser, in clock ticks.
browser_ticks() {
  # Without the program's name in parentheses, which may contain spaces, the third field is the process group.
  { cat /proc/[0-9]*/stat 2>/dev/null || true; } | sed 's/.*) //' |
    awk -v group="${pids[browser]}" '$3 == group { sum += $12 + $13 } END { print sum + 0 }'
}

# phase NAME ARGUMENT...: runs the publisher with the arguments; writes its summary to NAME.json and the resource usage
# of all running processes to NAME.used.
phase() {
  local phase=$1 name status=0 process
  local -a others=()
  for process in nats aggregator postgres peer browser; do if [[ -v pids[$process] ]]; then others+=("$process"); fi; done
  local -A before=([publisher]=0)
  say "${phase//_/ }: publisher ${*:2}"
  for process in "${others[@]}"; do
    measure "$process"
    before[$process]=${cpu[$process]}
    # Resets the peak, so that it covers only this phase.
    for name in $(of "$process"); do echo 5 2>/dev/null >"/proc/${pids[$name]}/clear_refs" || true; done
  done
  if [[ -v pids[browser] ]]; then before[browser]=$(browser_ticks); fi
  start publisher "$binaries/publisher" "${@:2}" --json >"$scratch/$phase.json" 2>"$scratch/publisher.log"
  while kill -0 "${pids[publisher]}" 2>/dev/null; do
    measure publisher
    sleep 0.05
  done
  ended publisher || status=$?
  if ((status != 0)); then fail "${phase//_/ } failed"; fi
  if [[ $phase == peer ]]; then await_peer; fi
  for process in "${others[@]}"; do measure "$process"; done
  if [[ -v pids[browser] ]]; then cpu[browser]=$(browser_ticks); fi
  for process in "${others[@]}" publisher; do
    echo "$process $((cpu[$process] - before[$process])) ${peak[$process]:-}"
  done | awk -v ticks="$ticks" '{ printf "%s %.2f", $1, $2 / ticks; if (NF > 2) printf " %.0f", $3 / 1024; print "" }' >"$scratch/$phase.used"
}

# ---- the processes ---------------------------------------------------------------------------------------------------

# slowed COMMAND...: prints nothing and starts the command, with each sync delayed if --sync-ms is given. strace intercepts
# no other system call, and with -D the command stays the process that is started.
slowed=()
slow_down() {
  local version oldest=5.3
  command -v strace >/dev/null || install_packages strace ||
    fail "--sync-ms needs strace $oldest or later on PATH (Debian, Ubuntu: apt-get install strace)"
  version=$(strace --version | sed -n '1s/.*version //p')
  [[ $(printf '%s\n' "$oldest" "$version" | sort -V | head -n 1) == "$oldest" ]] || fail "--sync-ms needs strace $oldest or later, not $version"
  slowed=(strace -D -f -qqq --seccomp-bpf -o /dev/null -e trace=fsync,fdatasync
    -e "inject=fsync,fdatasync:delay_enter=$((delay_ms * 1000))")
}

# numbered PART NUMBER: prints the name of a process of a part. The first has the part's own.
numbered() { if (($2 == 1)); then echo "$1"; else echo "$1-$2"; fi; }

start_aggregators() {
  local number name address
  local -a engine
  for ((number = 1; number <= aggregators; number++)); do
    name=$(numbered aggregator "$number")
    address=127.0.0.1:$aggregator_port
    if ((number > 1)); then address=127.0.0.1:$(free_port); fi
    if [[ $store == postgres ]]; then engine=(--store "$database_url"); else engine=(--data-dir "$scratch/data"); fi
    start "$name" "${slowed[@]}" "$binaries/aggregator" serve --listen "$address" --nats-url "$nats_url" \
      --stream-max-bytes "$stream_bytes" --stream-replicas "$replicas" "${engine[@]}" >"$scratch/$name.log" 2>&1
    await "$name" "$binaries/aggregator" healthcheck --listen "$address"
  done
}

# start_broker: starts a broker whose stream is new and empty, and which has no consumer. The aggregator creates the stream.
start_broker() {
  local number name
  local -a cluster=()
  stop_services
  rm -rf "$scratch"/nats* "$scratch/data" "$scratch/database"
  for ((number = 1; number <= replicas; number++)); do
    name=$(numbered nats "$number")
    if ((replicas > 1)); then
      cluster=(--name "$name" --cluster_name benchmark --cluster "nats://127.0.0.1:${route_ports[number - 1]}"
        --routes "$(printf 'nats://127.0.0.1:%s,' "${route_ports[@]}" | sed 's/,$//')")
    fi
    start "$name" "${slowed[@]}" nats-server --config compose/server.conf --store_dir "$scratch/$name" "${cluster[@]}" \
      --addr 127.0.0.1 --port "${nats_ports[number - 1]}" --http_port "${monitor_ports[number - 1]}" >"$scratch/$name.log" 2>&1
  done
  for ((number = 1; number <= replicas; number++)); do
    await "$(numbered nats "$number")" http_get "${monitor_ports[number - 1]}" /healthz
  done
  if [[ $store == postgres ]]; then
    # The user postgres has to enter it.
    chmod o+x "$scratch"
    start_postgres "$(realpath "$scratch")/database" "$scratch/secrets" "$database_port" --directory "$scratch/postgres.log" \
      -c max_connections=200 "${database_settings[@]/#/--}"
  fi
  start_aggregators
  local -a started
  mapfile -t started < <(of aggregator)
  for name in "${started[@]}"; do
    stop "$name"
    unset "pids[$name]"
  done
}

# need_peer: makes sure that the packages of peer.py are installed, in a virtual environment of their own.
need_peer() {
  python=$(realpath -m "$target")/peer
  if cmp -s compose/peer.txt "$python/made-of"; then return; fi
  say "installing the packages of compose/peer.py"
  rm -rf "$python"
  python3 -m venv "$python" >/dev/null 2>&1 || { install_packages python3-venv && python3 -m venv "$python" >/dev/null; } ||
    fail "--peer needs Python 3.10 or later with venv on PATH (Debian, Ubuntu: apt-get install python3-venv)"
  "$python/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement compose/peer.txt >&2 ||
    fail "pip cannot install the packages of compose/peer.py"
  cp compose/peer.txt "$python/made-of"
}

start_peer() {
  start peer "${slowed[@]}" "$python/bin/python" compose/peer.py "$nats_url" "$scratch/peer.db" "$events" \
    >"$scratch/peer.result" 2>"$scratch/peer.log"
}

# await_peer: waits until the peer has stored everything, and checks how much that is.
await_peer() {
  until [[ -s $scratch/peer.result ]]; do
    kill -0 "${pids[peer]}" 2>/dev/null || fail "peer.py ended before it had received everything"
    sleep 0.1
  done
  cp "$scratch/peer.result" "$scratch/python.json"
  [[ $(figure python stored) == "$(figure peer unique)" ]] || fail "peer.py stored $(figure python stored) events, not $(figure peer unique)"
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

phases=(broker_alone ${peer:+peer} end_to_end latency http_batches http_singles)

# share: prints the rate end to end as a share of the broker's alone.
share() { awk -v all="$(rate end_to_end processed)" -v broker="$(rate broker_alone events)" 'BEGIN { printf "%.2f", all / broker }'; }

# rate PHASE COUNTED: prints a rate without separators.
rate() { sed -n "s/.*\"$2_per_second\":\([0-9.]*\).*/\1/p" "$scratch/$1.json"; }

# used PHASE PART: prints CPU seconds and peak memory, or a dash. The browser and the database are many processes, which share
# memory.
used() {
  awk -v process="$2" '$1 == process { printf process == "browser" || process == "postgres" ? "%.2f s" : "%.2f s, %d MiB", $2, $3; found = 1 } END { if (!found) printf "-" }' \
    "$scratch/$1.used"
}

show_table() {
  local row='%-16s %s\n' name delay=''
  if ((delay_ms > 0)); then delay=", and $delay_ms ms more in the benchmark"; fi
  # shellcheck disable=SC2059
  {
    printf "$row" machine "$cores x $processor; a write of 4 KiB and its sync take $sync_ms ms$delay" \
      versions "$broker; $versions" \
      store "$engine" \
      synced "each write: nats sync_interval $nats_sync, $durability" \
      events "$events in $topics topics, 30 % duplicates"
    echo
    printf "$row" 'broker alone' "$(figure broker_alone events_per_second) events/s from first send to last PubAck, with no consumer" \
      '' "PubAck at this speed $(percentiles broker_alone puback_ms)"
    if [[ -n $peer ]]; then
      printf "$row" peer "$(figure python events_per_second) events/s from first delivery to last commit: peer.py, in messages of 1,000 events"
    fi
    printf "$row" 'end to end' "$(figure end_to_end processed_per_second) events/s from first send to last commit: $(share) of the broker alone" \
      '' "PubAck at this speed $(percentiles end_to_end puback_ms); $(counted end_to_end)" \
      latency "from POST /publish to GET /events $(percentiles latency visible_ms)" \
      '' "to the response of POST /publish $(percentiles latency answer_ms)" \
      '' "under a load of $(figure latency background_events_per_second) events/s"
    for name in http_batches http_singles; do
      printf "$row" "${name//_/ }" "$(figure "$name" events_per_second) events/s accepted, $(figure "$name" per_second) requests/s" \
        '' "responses $(percentiles "$name" answer_ms); $(figure "$name" sent) events, $(counted "$name")"
    done
    echo
    printf '%-16s %20s %20s %20s%s\n' 'CPU s, peak MiB' nats "aggregator${peer:+ or peer}" publisher "${database:+    PostgreSQL}${page:+       browser}"
  }
  for name in "${phases[@]}"; do
    printf '%-16s %20s %20s %20s%s\n' "${name//_/ }" "$(used "$name" nats)" \
      "$(used "$name" "$([[ $name == peer ]] && echo peer || echo aggregator)")" "$(used "$name" publisher)" \
      "${database:+$(printf '%14s' "$(used "$name" postgres)")}${page:+$(printf '%14s' "$(used "$name" browser)")}"
  done
}

show_json() {
  local name separator=''
  printf '{"events":%d,"topics":%d,"cores":%d,"processor":"%s","sync_ms":%s,' "$events" "$topics" "$cores" "$processor" "$sync_ms"
  printf '"delay_ms":%d,"versions":"%s; %s","nats_sync_interval":"%s",' "$delay_ms" "$broker" "$versions" "$nats_sync"
  printf '"store":"%s","aggregators":%d,"replicas":%d,' "$store" "$aggregators" "$replicas"
  printf '"durability":"%s","share_of_broker_alone":%s' "$durability" "$(share)"
  if [[ -n $peer ]]; then cp "$scratch/python.json" "$scratch/peer.json"; fi
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
run build cargo build --profile "$profile" --locked --package aggregator --package publisher

cores=$(nproc)
processor=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1 | tr -d '"')
broker="$(nats-server --version)$(if ((replicas > 1)); then echo " x $replicas"; fi)"
versions="$("$binaries/aggregator" --version), $("$binaries/publisher" --version)"
nats_sync=$(sed -n 's/^ *sync_interval: *//p' compose/server.conf)
sync_ms=$(LC_ALL=C dd if=/dev/zero of="$scratch/sync" bs=4k count=200 oflag=dsync 2>&1 |
  sed -n 's/.*copied, \([0-9.e-]*\) s,.*/\1/p' | awk '{ printf "%.2f", $1 * 1000 / 200 }')
[[ $(stat -f -c %T "$scratch") != tmpfs ]] || say "$scratch is in memory, where syncing costs nothing: --directory chooses the disk"
if ((delay_ms > 0)); then slow_down; fi
# What is not the default, because the figures depend on it. The durability is the default.
database_settings=(shared_buffers=1GB max_wal_size=4GB)
database='' engine='SQLite, 1 aggregator' durability='SQLite synchronous=FULL'
if [[ $store == postgres ]]; then
  need_postgres
  database=yes durability='fsync and synchronous_commit on'
  engine="PostgreSQL $(postgres --version | sed 's/^postgres (PostgreSQL) \([^ ]*\).*/\1/') with $(sed 's/ /, /g' <<<"${database_settings[*]}"), aggregators: $aggregators"
fi
if [[ -n $peer ]]; then need_peer; fi

aggregator_port=${AGGREGATOR_PORT:-$(free_port)} database_port=$(free_port)
database_url=postgres://aggregator@127.0.0.1:$database_port/events?passfile=$(percent_encoded "$(realpath "$scratch")/secrets/database")
nats_ports=("${NATS_PORT:-$(free_port)}") monitor_ports=("${NATS_MONITOR_PORT:-$(free_port)}") route_ports=("$(free_port)")
for ((number = 2; number <= replicas; number++)); do
  nats_ports+=("$(free_port)") monitor_ports+=("$(free_port)") route_ports+=("$(free_port)")
done
url=http://127.0.0.1:$aggregator_port nats_url=$(printf 'nats://127.0.0.1:%s,' "${nats_ports[@]}" | sed 's/,$//')
# The minimums keep the percentiles meaningful if --events is small. The last phase sends fewer events, because each of
# them takes a request of its own.
at_least() { echo $(($1 > $2 ? $1 : $2)); }
# Without a consumer the stream must hold all events, at 230 bytes each.
stream_bytes=$(at_least $((1 << 30)) $((events * 300)))
traffic=(generate --count "$events" --topics "$topics" --nats-url "$nats_url")

start_broker
phase broker_alone "${traffic[@]}"
if [[ -n $peer ]]; then
  start_broker
  start_peer
  phase peer "${traffic[@]}" --batch 1000
fi
start_broker
start_aggregators
if [[ -n $page ]]; then open_page; fi
phase end_to_end "${traffic[@]}" --verify "$url"
phase latency latency --url "$url" --rate 1000 --samples 300
phase http_batches http --url "$url" --connections 8 --events-per-request 100 --topics "$topics" --verify \
  --count "$(at_least 20000 $((events * 4 / 10)))"
phase http_singles http --url "$url" --connections 64 --events-per-request 1 --topics "$topics" --verify \
  --count "$(at_least 5000 $((events * 6 / 100)))"
if [[ -n $json ]]; then show_json; else show_table; fi
