#!/usr/bin/env bash
# Cuts the power under load, and checks that everything confirmed was kept. Needs root on Linux, with loop devices.
#
#   power.sh [--cuts N] [--controls] [--seed S] [--require]
#
#   --cuts N     number of cuts (3; none with --controls)
#   --controls   show that the test detects loss: with less syncing than the system does, something is lost
#   --seed S     seed of the first cut; each further cut uses the next one (random)
#   --require    exit with code 1 if a part cannot be tried; otherwise that is printed, and the exit code is 0
#
# Exit code 1 if something confirmed is missing, or anything is stored twice.
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

# The program removes the mounts and devices that it has set up; this waits for that. Ctrl-C reaches both.
"$target/debug/power" "$@" &
program=$!
trap : INT
trap 'kill -TERM "$program"' TERM
status=0
wait "$program" || status=$?
while kill -0 "$program" 2>/dev/null; do wait "$program" || status=$?; done
exit "$status"
