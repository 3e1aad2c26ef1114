#!/bin/sh
# Runs a PostgreSQL server, whose data it makes at the first start: the database events and the user aggregator, which owns it and
# logs in with a password.
#
#   database.sh DATA PASSFILE [ARGUMENT...]
#
# DATA is the directory of the data; PASSFILE has the password, in a line that passfile.sh made; the arguments are those of the server.
# Not as root, which the server refuses. Runs in containers too: it needs busybox, and the server's programs on PATH.
set -eu
umask 077

if [ $# -lt 2 ]; then sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "$0" >&2; exit 2; fi
data=$1 passfile=$2
shift 2

fail() { echo "database: error: $*" >&2; exit 1; }

make_data() {
  password=$(sed -n 's/^.*:aggregator:\([0-9a-f]*\)$/\1/p' "$passfile")
  [ -n "$password" ] || fail "$passfile has no line that ends with :aggregator: and hexadecimal digits"
  # Renamed when it is complete, so that an interrupted start leaves nothing half made.
  rm -rf "$data.new"
  initdb --pgdata "$data.new" --username "$(id -un)" --auth reject --encoding UTF8 --locale C --data-checksums >/dev/null
  # The superuser logs in by the socket as the user that the server runs as.
  {
    echo 'local all all peer'
    echo 'host events aggregator all scram-sha-256'
  } >"$data.new/pg_hba.conf"
  # No server that others could reach has a database without a password.
  {
    echo "CREATE ROLE aggregator LOGIN PASSWORD '$password'"
    echo "CREATE DATABASE events OWNER aggregator"
  } | postgres --single -D "$data.new" -c exit_on_error=on -c password_encryption=scram-sha-256 postgres >/dev/null
  mv "$data.new" "$data"
}

if [ ! -e "$data" ]; then make_data; fi
exec postgres -D "$data" "$@"
