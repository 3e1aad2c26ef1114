#!/usr/bin/env bash
# Injects faults under load, and afterwards verifies that no event was lost or counted twice.
#
#   faults.sh [--minutes M] [--seed S] [--round N] [--only NAME]   rounds of faults (3 minutes, seed 1)
#   faults.sh --cluster [the same]                 rounds with a broker of three servers, three aggregators and PostgreSQL, all of which fail,
#                                                  with the network between them, PostgreSQL's disk and the aggregators' clocks
#   faults.sh --cluster --directory [the same]     rounds with a broker of three servers that fail, and one aggregator
#   faults.sh --cluster-kills [EVENTS]             kills of three aggregators, leader and PostgreSQL while events pass (2000000)
#   faults.sh --kills [AGGREGATOR,BROKER,EVENTS]   kills of aggregator and broker while events pass (100,20,2000000)
#   faults.sh --disk-full [SECONDS]                the store's disk is full under load (60)
#   faults.sh --memory [EVENTS]                    peak memory with a backlog (5000000), and with slow readers
#   faults.sh --wal [SECONDS]                      size of the WAL under reads and writes (300)
#
# Filling disks and making files read-only need root on Linux; making fsync fail needs strace; setting clocks apart needs a C
# compiler. Faults that cannot be tried are listed. Everything runs on this machine, and ends with this script.
# E2E_BIN_DIR: the directory of the aggregator and the publisher to test, instead of those built here with the tests; relative
# to the root of the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. compose/prepare.sh

need_cargo
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
need_broker
if [[ " $* " == *" --cluster"* && " $* " != *" --directory "* ]]; then need_postgres; fi
say "the broker is $(nats-server --version)"
command -v strace >/dev/null || install_packages strace || say "strace is missing: fsync faults are not tried"

# Unless E2E_BIN_DIR names others, the programs are those of the tests' profile, which is fast enough and has overflow
# checks and debug assertions.
build_tested "$target"
E2E_BIN_DIR=${E2E_BIN_DIR:-$target/debug} "$target/debug/faults" "$@"
