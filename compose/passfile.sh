#!/bin/sh
# Makes the password of the database's user: a random one, in files that only their owner may read.
#
#   passfile.sh DATABASE CLIENT
#
# Writes DATABASE/passfile, from which database.sh takes it, and CLIENT/database, which the aggregator's --store names. Both have
# the format of PostgreSQL's own clients. A password that exists is kept. Runs in containers too, so it needs only busybox.
set -eu
umask 077

if [ $# != 2 ]; then sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "$0" >&2; exit 2; fi
database=$1/passfile client=$2/database

fail() { echo "passfile: error: $*" >&2; exit 1; }

mkdir -p "$1" "$2"
for file in "$database" "$client"; do
  if [ -s "$file" ]; then line=$(cat "$file"); break; fi
done
if [ -z "${line:-}" ]; then
  # 192 bits. The status is that of tr, so only the length shows that od read them.
  password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
  [ ${#password} = 48 ] || fail "/dev/urandom cannot be read"
  line="*:*:*:aggregator:$password"
fi
for file in "$database" "$client"; do
  # Renamed when it is complete, so that no program reads a part of it.
  new=$(mktemp "$file.XXXXXX")
  printf '%s\n' "$line" >"$new"
  mv "$new" "$file"
done
