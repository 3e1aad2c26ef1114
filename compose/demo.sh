#!/usr/bin/env bash
# The demo: starts nats-server, aggregator and publisher, sends 20,000 events of which 30 % are duplicates, checks every
# count, and continues at a slow rate until Ctrl-C, which stops all three.
#
#   demo.sh             in Docker if an engine and compose respond, otherwise as three processes on this machine
#   demo.sh --docker    in Docker
#   demo.sh --local     as processes
#   ... --cluster       the broker is a cluster of three servers, each of which keeps a replica of the stream; three aggregators, behind
#                       nginx as a load balancer, share a store in PostgreSQL
#   ... --once          exit after the check, with its exit code, and delete the data
#   ... --tls           with certificates, made on the spot: TLS to the broker, from both sides, and https. Needs openssl;
#                       not with --cluster
#
# Without --once the data is kept, in ./data or in the volumes of the compose project. The passwords of the broker's users and of the
# database's are made at the first start, in the same places; the certificates in ./data/tls.
# Environment: AGGREGATOR_PORT (8080); TLS_DIR, the directory of the certificates, in which those of another authority are used
# as they are; for --local NATS_PORT (4222), NATS_MONITOR_PORT (8222), and with --cluster NATS_ROUTE_PORT (6222), of each of which
# three in a row are used then, POSTGRES_PORT (5433), and DATA_DIR (./data, with --cluster ./data/cluster), which the user postgres must be
# able to enter if this runs as root; with --cluster the load balancer has AGGREGATOR_PORT, and the aggregators the three after it; for
# --docker DEMO_IMAGES=public or offline, COMPOSE="docker compose" or docker-compose, to override detection, and PROFILE, the profile of cargo that the images are
# built with (dist).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. compose/prepare.sh
. compose/processes.sh

mode='' once='' tls='' cluster=''
for argument in "$@"; do
  case $argument in
    --docker | --local) mode=${argument#--} ;;
    --once) once=yes ;;
    --tls) tls=yes ;;
    --cluster) cluster=yes ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit ;;
    *) say "unknown argument $argument; see --help"; exit 2 ;;
  esac
done
if [[ -n $cluster && -n $tls ]]; then say "--cluster and --tls exclude each other: the connections between the servers would need certificates too"; exit 2; fi
brokers=(nats)
aggregators=(aggregator)
if [[ -n $cluster ]]; then
  brokers=(nats-1 nats-2 nats-3)
  aggregators=(aggregator-1 aggregator-2 aggregator-3)
fi
aggregator_port=${AGGREGATOR_PORT:-8080}
# Absolute, because Compose takes a relative path from the directory of its file.
if [[ -n ${TLS_DIR:-} ]]; then TLS_DIR=$(realpath -m "$TLS_DIR"); fi
url=http${tls:+s}://127.0.0.1:$aggregator_port
traffic=(generate --count 20000 --duplicates 0.3)
[[ -n $once ]] || traffic+=(--then-rate 2)
scratch=$(mktemp -d)

# However this script ends, nothing that it started outlives it.
clean_up() {
  local status=$?
  set +e
  trap '' INT TERM HUP
  if ((status == 130 || status == 143)); then say "stopping"; elif ((status != 0)); then show_logs; fi
  local name
  for name in build publisher balancer "${aggregators[@]}" postgres "${brokers[@]}"; do stop "$name"; done
  if [[ -n ${project_up:-} ]]; then
    start down "${compose[@]}" down --remove-orphans ${once:+--volumes} >"$scratch/down" 2>&1
    wait "${pids[down]}" || cat "$scratch/down" >&2
  fi
  rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- ports -----------------------------------------------------------------------------------------------------------

# need_port PORT VARIABLE: fails if the port is in use; the message names the variable that sets another one.
need_port() {
  local holder
  if ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
  holder=$(ss -Hltnp "sport = :$1" 2>/dev/null | sed -n 's/.*(("\([^"]*\)",pid=\([0-9]*\).*/ by \1 (process \2)/p' | head -n 1) || true
  fail "port $1 is in use$holder: free it, or choose another port with $2=PORT"
}

show_urls() {
  if [[ -n $once ]]; then return; fi
  printf '  %-48s %s\n' \
    "$url/" 'the live page: open it in a browser' \
    "$url/stats" 'the counts' \
    "$url/events?limit=5" 'the newest events' \
    "$url/health" "the service's health" "$@" 'Ctrl-C' 'stops all of it'
}

# make_certificates DIRECTORY: makes the authority and the certificates that are missing or expire soon.
make_certificates() {
  command -v openssl >/dev/null || install_packages openssl ||
    fail "--tls needs openssl on PATH (Debian, Ubuntu: apt-get install openssl)"
  compose/certificates.sh "$1"
}

# ---- local -----------------------------------------------------------------------------------------------------------

# broker_url SCHEME USER: the addresses of all servers of the broker.
broker_url() {
  local index addresses=()
  for index in "${!brokers[@]}"; do addresses+=("$1://$2@127.0.0.1:$((nats_port + index))"); done
  (IFS=,; printf %s "${addresses[*]}")
}

# configure_brokers DIRECTORY: puts the configuration of the broker there. A copy, because nats-server looks for the passwords next to
# the file that includes them.
configure_brokers() {
  local index routes=()
  compose/secrets.sh "$1/secrets" "$data/secrets" aggregator publisher reader
  cp compose/*.conf "$1/"
  # nats-server 2.10 cannot be reloaded if a flag names the directory of its store.
  awk '{ print } /^jetstream [{]/ { print "  store_dir: $NATS_STORE" }' compose/server.conf >"$1/server.conf"
  if [[ -n $cluster ]]; then
    for index in "${!brokers[@]}"; do routes+=("127.0.0.1:$((route_port + index))"); done
    compose/routes.sh "$1/secrets" "${routes[@]}"
  fi
}

# start_brokers DIRECTORY [VARIABLE=VALUE...]: starts the servers with the configuration there and these variables, and awaits them.
start_brokers() {
  local index name
  for index in "${!brokers[@]}"; do
    name=${brokers[index]}
    start "$name" env NATS_NAME="$name" NATS_STORE="\"$(realpath -m "$data/$name")\"" \
      NATS_ROUTE_LISTEN="127.0.0.1:$((route_port + index))" "${@:2}" nats-server --config "$1/$configuration" \
      --addr 127.0.0.1 --port "$((nats_port + index))" --http_port "$((monitor_port + index))" >"$logs/$name.log" 2>&1
  done
  for index in "${!brokers[@]}"; do await "${brokers[index]}" http_get "$((monitor_port + index))" /healthz; done
}

# start_balancer DIRECTORY: starts nginx with a configuration that it puts there, and awaits it.
start_balancer() {
  local index servers='hash $remote_addr consistent;'
  for index in "${!aggregators[@]}"; do
    servers+=" server 127.0.0.1:$((aggregator_port + index + 1)) max_fails=0;"
  done
  mkdir -p "$1"
  sed -e "s/^  resolver .*/  upstream aggregators { $servers }/" -e "s/listen 8080/listen 127.0.0.1:$aggregator_port/" \
    -e 's/aggregator:8080/aggregators/' compose/balancer.conf >"$1/nginx.conf"
  start balancer nginx -p "$1" -c nginx.conf -e stderr -g 'daemon off;' >"$logs/balancer.log" 2>&1
  await balancer http_get "$aggregator_port" /readyz
}

# start_aggregator NAME PORT FLAG...: starts an aggregator, and awaits it.
start_aggregator() {
  start "$1" "$binaries/aggregator" serve --listen "127.0.0.1:$2" \
    --nats-url "$(broker_url "$scheme" aggregator)" --nats-password-file "$data/secrets/aggregator" "${@:3}" >"$logs/$1.log" 2>&1
  await "$1" "$binaries/aggregator" healthcheck --listen "127.0.0.1:$2"
}

local_mode() {
  local nats_port=${NATS_PORT:-4222} monitor_port=${NATS_MONITOR_PORT:-8222} route_port=${NATS_ROUTE_PORT:-6222}
  local postgres_port=${POSTGRES_PORT:-5433} store
  # The store of a cluster's aggregator is another one than that of a single broker's.
  local data=${DATA_DIR:-data${cluster:+/cluster}}
  local binaries=${CARGO_TARGET_DIR:-target}/release scheme=nats configuration=nats.conf index
  local -a broker=() serve=() send=()
  need_port "$aggregator_port" AGGREGATOR_PORT
  for index in "${!brokers[@]}"; do
    need_port "$((nats_port + index))" NATS_PORT
    need_port "$((monitor_port + index))" NATS_MONITOR_PORT
    if [[ -n $cluster ]]; then need_port "$((route_port + index))" NATS_ROUTE_PORT; fi
  done
  if [[ -n $cluster ]]; then
    need_port "$postgres_port" POSTGRES_PORT
    for index in "${!aggregators[@]}"; do need_port "$((aggregator_port + index + 1))" AGGREGATOR_PORT; done
    need_postgres
    need_nginx
  fi
  need_cargo
  need_broker
  say "building"
  run build cargo build --release --locked --package aggregator --package publisher
  if [[ -n $once ]]; then data=$scratch/data; fi
  logs=$data/logs
  mkdir -p "$logs"
  configure_brokers "$data/broker"
  if [[ -n $cluster ]]; then
    configuration=nats-cluster.conf
    serve=(--stream-replicas "${#brokers[@]}")
  fi
  if [[ -n $tls ]]; then
    local files=${TLS_DIR:-$data/tls}
    make_certificates "$files"
    scheme=tls configuration=nats-tls.conf
    broker=(NATS_CERT="$files/nats/cert.pem" NATS_KEY="$files/nats/key.pem" NATS_CA="$files/nats/ca.pem")
    send=(--nats-ca "$files/publisher/ca.pem" --nats-cert "$files/publisher/cert.pem" --nats-key "$files/publisher/key.pem")
    files+=/aggregator
    serve=(--nats-ca "$files/ca.pem" --nats-cert "$files/cert.pem" --nats-key "$files/key.pem")
    export AGGREGATOR_TLS_CERT=$files/cert.pem AGGREGATOR_TLS_KEY=$files/key.pem AGGREGATOR_CA=$files/ca.pem
  fi
  start_brokers "$data/broker" "${broker[@]}"
  if [[ -n $cluster ]]; then
    # The user postgres has to enter them, whatever the umask is.
    if [[ -n $once ]]; then chmod o+x "$scratch" "$data"; fi
    start_postgres "$(realpath -m "$data")/postgres" "$data/secrets" "$postgres_port" DATA_DIR "$logs/postgres.log"
    store="postgres://aggregator@127.0.0.1:$postgres_port/events?passfile=$(percent_encoded "$(realpath "$data")/secrets/database")"
    for index in "${!aggregators[@]}"; do
      start_aggregator "${aggregators[index]}" "$((aggregator_port + index + 1))" "${serve[@]}" --store "$store"
    done
    start_balancer "$(realpath -m "$data")/balancer"
  else
    start_aggregator aggregator "$aggregator_port" "${serve[@]}" --data-dir "$data"
  fi
  show_urls "http://127.0.0.1:$monitor_port/jsz?streams=true" 'what the broker holds' "$logs" 'the logs'
  run publisher "$binaries/publisher" "${traffic[@]}" --verify "$url" \
    --nats-url "$(broker_url "$scheme" publisher)" --nats-password-file "$data/secrets/publisher" "${send[@]}"
  if [[ -n $once ]]; then "$binaries/aggregator" stats --url "$url"; fi
}

# ---- Docker ----------------------------------------------------------------------------------------------------------

docker_mode() {
  local images=${DEMO_IMAGES:-} base variable entrance=aggregator
  if [[ -n $cluster ]]; then entrance=balancer; fi
  need_port "$aggregator_port" AGGREGATOR_PORT
  mapfile -t base < <(sed -n 's/^FROM \([^ ]*:[^ ]*\).*/\1/p' compose/Dockerfile)
  base+=("${NATS_IMAGE:-nats:2.14-alpine}")
  if [[ -n $cluster ]]; then base+=("${POSTGRES_IMAGE:-postgres:18-alpine}" "${NGINX_IMAGE:-nginx:stable-alpine}"); fi
  if [[ $images == public || $images == offline ]]; then
    say "using the $images images, as DEMO_IMAGES requests"
  elif [[ -n $images ]]; then
    fail "DEMO_IMAGES must be public or offline, not $images"
  elif have_images "${base[@]}"; then
    images=public
    say "using the public base images, which are available: ${base[*]}"
  elif ! command -v cargo >/dev/null; then
    images=public
    say "using the public base images although $missing could not be pulled within 20 s: offline images need cargo, which is not on PATH"
  else
    images=offline
    say "using images built from this machine's files: $missing is missing and could not be pulled within 20 s"
  fi
  export AGGREGATOR_PORT=$aggregator_port
  # The broker's container reads it as another user, and the clone may have been made under a strict umask.
  chmod o+r compose/*.conf compose/secrets.sh compose/routes.sh compose/passfile.sh compose/database.sh compose/postgres.passwd
  if [[ $images == offline ]]; then
    run build compose/offline-images.sh ${cluster:+--cluster} >"$scratch/variables"
    while read -r variable; do export "${variable?}"; done <"$scratch/variables"
  else
    # docker-compose 1.29 uses BuildKit only if these are set.
    run build env DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1 "${compose[@]}" build
  fi
  if [[ -n $once ]]; then export COMPOSE_PROJECT_NAME=event-aggregator-once-$$; fi
  if [[ -n $cluster ]]; then
    export COMPOSE_FILE=compose/cluster.yaml COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-event-aggregator-cluster}
  fi
  if [[ -n $tls ]]; then
    export COMPOSE_FILE=compose/compose.yaml:compose/compose.tls.yaml
    local files=$PWD/data/tls
    if [[ -n $once ]]; then files=$scratch/tls; fi
    export TLS_DIR=${TLS_DIR:-$files}
    make_certificates "$TLS_DIR"
  fi
  project_up=yes
  if [[ -n $once ]]; then
    # `compose run` starts a separate container and returns its exit code.
    run publisher "${compose[@]}" run --rm -T publisher "${traffic[@]}" --verify "http${tls:+s}://$entrance:8080"
    run stats "${compose[@]}" exec -T aggregator aggregator stats --url "http${tls:+s}://127.0.0.1:8080"
  else
    run publisher "${compose[@]}" up --detach --no-build
    show_urls
    run publisher "${compose[@]}" logs --follow --no-log-prefix publisher
    fail "the publisher has ended"
  fi
}

show_logs() {
  if [[ -n ${project_up:-} ]]; then
    "${compose[@]}" logs --tail 20 "${brokers[@]}" aggregator ${cluster:+postgres balancer} >&2
  fi
  if [[ -n ${logs:-} ]]; then tail -n 20 "$logs"/*.log >&2; fi
}

# ----------------------------------------------------------------------------------------------------------------------

reason="as requested"
if [[ -z $mode ]]; then
  if ! docker_answers; then
    mode=local reason="because no Docker engine responds"
  elif ! choose_compose; then
    mode=local reason="because neither docker compose nor docker-compose responds"
  else
    mode=docker reason="because an engine and ${compose[*]} respond"
  fi
fi
if [[ $mode == docker ]]; then
  say "in Docker, $reason"
  docker_answers || fail "no Docker engine responds; --local does not need one"
  choose_compose || fail "neither docker compose nor docker-compose responds; --local does not need one"
  docker_mode
else
  say "as processes on this machine, $reason"
  local_mode
fi
