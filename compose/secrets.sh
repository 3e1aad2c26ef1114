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
mkdir -p "$broker" "$client"
for user in "$@"; do
  if [ -n "$replace" ] || [ ! -s "$client/$user" ]; then
    # 192 bits. Renamed when complete, so that no program reads a part of it.
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$client/$user.new"
    mv "$client/$user.new" "$client/$user"
  fi
  printf '%s_PASSWORD: "%s"\n' "$(printf %s "$user" | tr a-z A-Z)" "$(cat "$client/$user")" >"$broker/$user.conf.new"
  mv "$broker/$user.conf.new" "$broker/$user.conf"
done
