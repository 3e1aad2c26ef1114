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

need_broker() {
  command -v nats-server >/dev/null && return
  install_packages nats-server || fail "nats-server is not on PATH: get it from your distribution (Debian, Ubuntu:" \
    "apt-get install nats-server; Homebrew: nats-server) or from https://nats.io/download, and run this again"
  # The package starts the server as a service, on the port that we want to start our own on.
  if [[ -d /run/systemd/system ]]; then systemctl disable --quiet --now nats-server; fi
}

# need_syncing_broker DIRECTORY: a nats-server that can sync each write, for what is measured. Where there is none on
# PATH, its image has one that runs on any Linux; where Docker does not answer either, any nats-server is taken.
need_syncing_broker() {
  local image=${NATS_IMAGE:-nats:2.14-alpine} container
  if command -v nats-server >/dev/null && [[ $(broker_config) == nats.conf ]]; then return; fi
  if docker_answers && have_images "$image" && container=$(docker create "$image"); then
    docker cp "$container:/usr/local/bin/nats-server" "$1" >/dev/null 2>&1 || true
    docker rm "$container" >/dev/null
    if [[ $("$1/nats-server" --version 2>/dev/null) == nats-server* ]]; then
      PATH=$(realpath "$1"):$PATH
      say "taking nats-server out of $image"
      return
    fi
  fi
  need_broker
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

# The configuration that this nats-server can read. Before 2.10 it cannot read the one that syncs each write.
broker_config() { if nats-server -t -c compose/nats.conf >/dev/null 2>&1; then echo nats.conf; else echo nats-2.9.conf; fi; }

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
