#!/usr/bin/env bash
# Simulates power cuts under load, and checks that everything confirmed was kept. Needs Linux, root and loop devices.
#
#   power.sh [--cuts N] [--controls] [--seed S] [--require]
#
#   --cuts N     number of cuts (3; none with --controls)
#   --controls   show that the test detects loss: with less syncing than the system does, something is lost
#   --seed S     seed of the first cut (random); each further cut uses the next number
#   --require    if this machine cannot simulate power cuts, exit with code 1 instead of 0; the reason is printed
#
# The exit code is 1 if anything confirmed is missing, or anything is stored twice.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. compose/prepare.sh

if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit; fi
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
need_cargo
need_broker
build_tested "$target"

# The program removes the mounts and devices that it has set up, and this script waits for that. Ctrl-C reaches both.
"$target/debug/power" "$@" &
program=$!
trap : INT
trap 'kill -TERM "$program"' TERM
status=0
wait "$program" || status=$?
while kill -0 "$program" 2>/dev/null; do wait "$program" || status=$?; done
exit "$status"
