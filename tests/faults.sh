#!/usr/bin/env bash
# Injects faults under load, and proves afterwards that nothing was lost and nothing counted twice.
#
#   faults.sh [--minutes M] [--seed S] [--round N] [--only NAME]   rounds of faults; 3 minutes, seed 1
#   faults.sh --kills [AGGREGATOR,BROKER,EVENTS]                   100 and 20 kills while 2,000,000 events pass
#   faults.sh --disk-full [SECONDS]                                the store's disk full for a minute under load
#   faults.sh --memory [EVENTS]                                    peak memory with a backlog of 5,000,000 events, and with slow readers
#   faults.sh --wal [SECONDS]                                      the WAL's size under reads and writes, five minutes
#
# Filling disks and making files read-only needs root on Linux, failing fsyncs needs strace; faults that cannot be
# tried are named. It uses this machine only, and everything that it starts ends with it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. compose/prepare.sh

need_cargo
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
need_broker
say "the broker is $(nats-server --version)"
command -v strace >/dev/null || install_packages strace || say "strace is missing: fsync faults are not tried"

# The profile of the tests: fast enough, and with overflow checks and debug assertions.
build_tested "$target"
E2E_BIN_DIR=$target/debug "$target/debug/faults" "$@"
