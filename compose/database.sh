# shellcheck shell=bash
# Functions that start a PostgreSQL server as a process. Sourced after prepare.sh and processes.sh.

# need_database: makes sure that the programs of a PostgreSQL server are installed, and sets database_programs.
need_database() {
  local candidate
  for candidate in 1 2; do
    database_programs=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    if [[ -x $database_programs/initdb ]]; then return; fi
    if initdb=$(command -v initdb); then database_programs=$(dirname "$initdb"); return; fi
    if ((candidate == 1)); then
      install_packages postgresql || break
      # The package starts the server as a service, which is not needed here.
      if [[ -d /run/systemd/system ]]; then systemctl disable --quiet --now postgresql 2>/dev/null || true; fi
    fi
  done
  fail "no PostgreSQL server is installed (Debian, Ubuntu: apt-get install postgresql)"
}

database_version() { "$database_programs/postgres" --version | sed 's/^postgres (PostgreSQL) \([^ ]*\).*/PostgreSQL \1/'; }

# start_database DIRECTORY PORT: starts a server with a new database, and awaits it.
start_database() {
  # PostgreSQL does not run as root.
  local -a as=()
  if [[ $EUID == 0 ]]; then as=(setpriv --reuid=postgres --regid=postgres --clear-groups); fi
  database_directory=$1 database_listen=$2
  mkdir -p "$1"
  if [[ $EUID == 0 ]]; then
    chown postgres:postgres "$1"
    chmod o+x "$(dirname "$1")"
    "${as[@]}" test -w "$1" || fail "the user postgres cannot reach $1: PostgreSQL does not run as root; use a directory that all may enter"
  fi
  "${as[@]}" "$database_programs/initdb" --pgdata "$1" --username aggregator --auth trust --no-sync --no-locale --encoding UTF8
  # Twice the batches of 16 aggregators; the durability is that of the defaults.
  start postgres "${as[@]}" "$database_programs/postgres" -D "$1" -p "$2" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c max_connections=200 -c shared_buffers=1GB -c max_wal_size=4GB
  await postgres "$database_programs/psql" --quiet --no-psqlrc "$(database_url postgres)" --command 'SELECT 1'
  "$database_programs/createdb" --maintenance-db "$(database_url postgres)" events
}

# database_url [NAME]: prints the address of a database of the server.
database_url() { echo "postgres://aggregator@127.0.0.1:$database_listen/${1:-events}"; }
