#!/usr/bin/env bash
# Fuzzes the parsers, one target after the other.
#
#   fuzz.sh [--minutes M] [TARGET...]
#
# Without a target it runs all of them: event, message, subject, query, tokens, pattern, authorization. Each runs M minutes
# (1) and continues from the inputs that earlier runs kept in tests/fuzz/corpus. Inputs that make a target fail are kept in
# tests/fuzz/artifacts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { printf 'fuzz: error: %s\n' "$*" >&2; exit 1; }

minutes=1
if [[ ${1:-} == --minutes ]]; then
  [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || fail "--minutes takes a whole number of at least 1"
  minutes=$2
  shift 2
fi
targets=("$@")
if (($# == 0)); then targets=(event message subject query tokens pattern authorization); fi
for target in "${targets[@]}"; do
  [[ -f tests/fuzz/targets/$target.rs ]] || fail "unknown target $target; expected one of: event, message, subject, query, tokens, pattern, authorization"
done

command -v cargo >/dev/null || fail "cargo is not on PATH: install Rust from https://rustup.rs"
cargo +nightly --version >/dev/null 2>&1 || fail "a nightly compiler is missing; run: rustup toolchain install nightly --profile minimal"
command -v cargo-fuzz >/dev/null || fail "cargo-fuzz is missing; run: cargo install cargo-fuzz --locked"
command -v c++ >/dev/null || fail "building libFuzzer needs a C++ compiler, and c++ is not on PATH: install g++ or clang"

for target in "${targets[@]}"; do
  corpus=tests/fuzz/corpus/$target
  mkdir -p "$corpus"
  options=(-max_total_time=$((minutes * 60)) -print_final_stats=1 -timeout=20)
  if [[ $target == event || $target == message ]]; then options+=(-dict=tests/fuzz/json.dict); fi
  if [[ $target == tokens ]]; then options+=(-dict=tests/fuzz/toml.dict); fi
  printf 'fuzz: %s for %d min\n' "$target" "$minutes"
  cargo +nightly fuzz run --fuzz-dir tests/fuzz "$target" "$corpus" "tests/fuzz/seeds/$target" -- "${options[@]}"
done
