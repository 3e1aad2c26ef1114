#!/bin/sh
# Makes the password between the servers of a cluster: a random one, in a file that only its owner may read.
#
#   routes.sh BROKER HOST:PORT...
#
# Writes BROKER/routes.conf, which nats-cluster.conf includes: the password, and the address of each server with it. A password that
# exists is kept. Runs in the broker's container too, so it needs only busybox.
set -eu
umask 077

if [ $# -lt 2 ]; then sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "$0" >&2; exit 2; fi
broker=$1
shift

fail() { echo "routes: error: $*" >&2; exit 1; }

mkdir -p "$broker"
file=$broker/routes.conf
password=''
if [ -s "$file" ]; then
  password=$(sed -n 's/^ROUTE_PASSWORD: "\([0-9a-f]*\)"$/\1/p' "$file")
  # A new one would cut this server off from the others.
  [ -n "$password" ] || fail "$file has no line ROUTE_PASSWORD: \"...\" with hexadecimal digits; restore it, or delete it on all servers"
fi
if [ -z "$password" ]; then
  # 192 bits. The status is that of tr, so only the length shows that od read them.
  password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
  [ ${#password} = 48 ] || fail "/dev/urandom cannot be read"
fi
# Renamed when it is complete, so that no server reads a part of it.
new=$(mktemp "$file.XXXXXX")
{
  printf 'ROUTE_PASSWORD: "%s"\nROUTES: [\n' "$password"
  for address in "$@"; do printf '  "nats://route:%s@%s"\n' "$password" "$address"; done
  printf ']\n'
} >"$new"
mv "$new" "$file"
