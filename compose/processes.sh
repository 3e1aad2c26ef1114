# shellcheck shell=bash
# Functions that start, await, query and stop processes. Sourced by demo.sh, bench.sh and openapi.sh, after prepare.sh.

declare -A pids=()

# start NAME COMMAND...: starts the command in a process group of its own, so that Ctrl-C reaches only this script, and
# the script stops the processes in the right order.
start() {
  set -m
  "${@:2}" </dev/null &
  set +m
  pids[$1]=$!
}

# ended NAME: waits for the process to end, and returns its exit code. Fails if another process ends first.
ended() {
  local name status=0
  wait -n "${pids[@]}" 2>/dev/null || status=$?
  for name in "${!pids[@]}"; do
    if kill -0 "${pids[$name]}" 2>/dev/null; then continue; fi
    unset "pids[$name]"
    [[ $name == "$1" ]] || fail "$name ended, with exit code $status"
  done
  return "$status"
}

# run NAME COMMAND...: runs the command and returns its exit code. Unlike a plain command, it does not delay this
# script's traps.
run() { start "$@"; ended "$1"; }

# await NAME COMMAND...: waits until the command succeeds. Fails after 60 s, or if NAME, the process that the command
# needs, has ended.
await() {
  local deadline=$((SECONDS + 60))
  until "${@:2}" >/dev/null 2>&1; do
    kill -0 "${pids[$1]}" 2>/dev/null || fail "$1 ended before it was ready"
    ((SECONDS < deadline)) || fail "$1 is not ready after 60 s"
    sleep 0.2
  done
}

# stop NAME: sends SIGTERM to the process group, and SIGKILL to what is left of it once the process has ended or 15 s
# have passed.
stop() {
  local pid=${pids[$1]:-} deadline=$((SECONDS + 15))
  if [[ -z $pid ]]; then return; fi
  kill -TERM -- "-$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.1; done
  kill -KILL -- "-$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

# percent_encoded TEXT: the text as a part of a URL.
percent_encoded() {
  local LC_ALL=C index character
  for ((index = 0; index < ${#1}; index++)); do
    character=${1:index:1}
    case $character in
      [a-zA-Z0-9/._~-]) printf %s "$character" ;;
      *) printf '%%%02X' "'$character" ;;
    esac
  done
}

# start_postgres DIRECTORY SECRETS PORT VARIABLE LOG [ARGUMENT...]: starts the database with its data in DIRECTORY, an absolute path, its
# password in SECRETS too, and these arguments of the server, and awaits it. If this runs as root, the database runs as the user
# postgres; the message that it cannot enter DIRECTORY names the variable or option that sets another one.
start_postgres() {
  local -a as=()
  compose/passfile.sh "$1" "$2"
  # A copy, and from the root directory, because the user postgres may not be able to enter this one.
  install -m 644 compose/database.sh "$1/database.sh"
  if ((EUID == 0)); then
    # The server refuses to run as root.
    as=(setpriv --reuid=postgres --regid=postgres --init-groups)
    chown -R postgres "$1"
    "${as[@]}" test -w "$1" || fail "the user postgres, which the database runs as, cannot enter $1: set $4 to a directory that it can"
  fi
  # shellcheck disable=SC2016
  start postgres sh -c 'cd / && exec "$@"' sh "${as[@]}" sh "$1/database.sh" "$1/data" "$1/passfile" -c "port=$3" \
    -c listen_addresses=127.0.0.1 -c unix_socket_directories= "${@:6}" >"$5" 2>&1
  await postgres pg_isready --quiet --host 127.0.0.1 --port "$3"
}

# http_get PORT PATH: prints the body of the response; fails if its status is not 200. Uses bash's /dev/tcp, because not
# every machine has curl.
http_get() (
  exec 3<>"/dev/tcp/127.0.0.1/$1" || exit
  printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$2" >&3
  read -r -t 10 _ code _ <&3
  [[ $code == 200 ]] && timeout 10 sed '1,/^\r*$/d' <&3
)
