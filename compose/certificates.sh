#!/usr/bin/env bash
# Makes a small certificate authority, and with it the certificates of nats, aggregator and publisher. Needs openssl.
#
#   certificates.sh DIRECTORY
#
# Writes ca.pem and, for each of the three, NAME.pem and NAME-key.pem. What exists is kept unless it expires within 30 days. The
# directory is for its owner only. The keys in it can be read by all who reach them, because the containers run as another user
# than the owner; the key of the authority, ca-key.pem, is in no container.
set -euo pipefail
[[ $# == 1 && $1 != -* ]] || { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
command -v openssl >/dev/null || {
  echo "certificates: error: openssl is not on PATH: install it (Debian, Ubuntu: apt-get install openssl), and run this again" >&2
  exit 1
}
umask 077
mkdir -p "$1"
chmod 700 "$1"
cd "$1"

# lasts FILE: succeeds if the certificate exists and is valid for 30 more days.
lasts() { [[ -s $1 ]] && openssl x509 -in "$1" -noout -checkend $((30 * 24 * 3600)) >/dev/null; }
new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

if ! lasts ca.pem; then
  # Certificates of the authority before it are of no use.
  rm -f ./*.pem
  new_key ca-key.pem
  openssl req -x509 -new -key ca-key.pem -subj "/CN=event-aggregator demo authority" -days 3650 -out ca.pem \
    -addext basicConstraints=critical,CA:true,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign
fi

# certificate NAME: for the host NAME, this machine, and as a client.
certificate() {
  if lasts "$1.pem"; then return; fi
  new_key "$1-key.pem.new"
  openssl req -new -key "$1-key.pem.new" -subj "/CN=$1" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca-key.pem -set_serial "0x$(openssl rand -hex 16)" -days 397 -out "$1.pem.new" \
    -extfile <(printf '%s\n' "subjectAltName=DNS:$1,DNS:localhost,IP:127.0.0.1,IP:::1" basicConstraints=critical,CA:false \
      keyUsage=critical,digitalSignature extendedKeyUsage=serverAuth,clientAuth) 2>/dev/null
  rm "$1.csr"
  mv "$1-key.pem.new" "$1-key.pem"
  mv "$1.pem.new" "$1.pem"
  chmod 644 "$1-key.pem"
}
for name in nats aggregator publisher; do certificate "$name"; done
chmod 644 ca.pem nats.pem aggregator.pem publisher.pem
