#!/bin/sh
# Makes the passwords of the broker's users: random ones, in files that only their owner may read.
#
#   secrets.sh [--replace] BROKER CLIENT USER...
#
# Writes CLIENT/USER, the password, and BROKER/USER.conf, which nats.conf includes. A password that exists is kept; --replace makes
# another one, which the broker uses after a reload (SIGHUP). Runs in the broker's container too, so it needs only busybox.
set -eu
umask 077

replace=''
if [ "${1:-}" = --replace ]; then replace=yes; shift; fi
if [ $# -lt 3 ]; then sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "$0" >&2; exit 2; fi
broker=$1 client=$2
shift 2

fail() { echo "secrets: error: $*" >&2; exit 1; }

# write FILE FORMAT ARGUMENT...: renames the file when it is complete, so that no program reads a part of it.
write() {
  file=$1
  shift
  new=$(mktemp "$file.XXXXXX")
  # shellcheck disable=SC2059
  printf "$@" >"$new"
  mv "$new" "$file"
}

mkdir -p "$broker" "$client"
for user in "$@"; do
  if [ -n "$replace" ] || [ ! -s "$client/$user" ]; then
    # 192 bits. The status is that of tr, so only the length shows that od read them.
    password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    [ ${#password} = 48 ] || fail "/dev/urandom cannot be read"
    write "$client/$user" %s "$password"
  fi
  variable=$(printf %s "$user" | tr a-z A-Z)_PASSWORD
  password=$(cat "$client/$user")
  [ -n "$password" ] || fail "$client/$user contains no password"
  written=''
  # Until the password is the same afterwards, because another run may replace it in between.
  while [ "$written" != "$password" ]; do
    write "$broker/$user.conf" '%s: "%s"\n' "$variable" "$password"
    written=$password
    password=$(cat "$client/$user")
  done
done
