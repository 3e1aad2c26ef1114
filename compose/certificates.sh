#!/usr/bin/env bash
# Makes a small certificate authority, and with it the certificates of nats, aggregator and publisher. Needs openssl.
#
#   certificates.sh DIRECTORY
#
# Writes the authority, ca.pem and ca-key.pem, and for each of the three a directory for its container: NAME/cert.pem,
# NAME/key.pem and NAME/ca.pem. Keys are kept. A certificate is made again, for the same key, if it expires within 30 days or
# does not match the key or the authority. If there are certificates of another authority, or this one's without ca-key.pem,
# nothing is made: only the presence of each NAME's three files is checked.
#
# A new DIRECTORY is for its owner only. The keys of the three can be read by all who reach them, because the containers run as
# another user than the owner; the key of the authority is in no container.
set -euo pipefail
[[ $# == 1 && $1 != -* ]] || { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
say() { echo "certificates: $*" >&2; }
command -v openssl >/dev/null || {
  say "error: openssl is not on PATH: install it (Debian, Ubuntu: apt-get install openssl), and run this again"
  exit 1
}
authority="event-aggregator demo authority"
names=(nats aggregator publisher)
umask 077
mkdir -p "$1"
cd "$1"

# ---- another authority -----------------------------------------------------------------------------------------------

# is_ours CERTIFICATE: succeeds if this script issued it and can issue it again.
is_ours() {
  [[ -s ca-key.pem && $(openssl x509 -in "$1" -noout -issuer -nameopt RFC2253) == "issuer=CN=$authority" ]]
}

present=() missing=() foreign=''
for name in "${names[@]}"; do
  for file in "$name"/{cert,key,ca}.pem; do if [[ -s $file ]]; then present+=("$file"); else missing+=("$file"); fi; done
done
for file in ca.pem "${present[@]}"; do
  if [[ -s $file && $file != */key.pem ]] && ! is_ours "$file"; then foreign=$file; break; fi
done
if [[ -n $foreign ]]; then
  say "nothing is made: $1/$foreign is of another authority than this script's, or ca-key.pem is missing"
  if ((${#missing[@]})); then
    say "error: missing in $1: ${missing[*]}: provide them, or use another directory"
    exit 1
  fi
  exit
fi

# ---- this script's authority -----------------------------------------------------------------------------------------

if [[ -n $(find . -prune -perm /011) ]]; then
  say "warning: other users can enter $1 and read the keys in it: chmod 700 $1"
fi
# Each file is renamed when it is complete and has its mode. After any of these steps the next run can continue.
work=$(mktemp -d ./.new.XXXXXX)
trap 'rm -rf "$work"' EXIT

# fits CERTIFICATE KEY: succeeds if the certificate is of the authority and of this key, and valid for 30 more days.
fits() {
  [[ -s $1 ]] && openssl x509 -in "$1" -noout -checkend $((30 * 24 * 3600)) >/dev/null &&
    openssl verify -CAfile ca.pem "$1" >/dev/null 2>&1 &&
    [[ $(openssl x509 -in "$1" -noout -pubkey) == "$(openssl pkey -in "$2" -pubout)" ]]
}

# put FILE MODE: moves the file from the working directory to its place.
put() {
  chmod "$2" "$work/new"
  mv -f "$work/new" "$1"
}

# key FILE MODE: makes a key if there is none. One that exists is never replaced, so none can be lost.
key() {
  if [[ -s $1 ]]; then return; fi
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/new"
  put "$1" "$2"
}

key ca-key.pem 600
if ! fits ca.pem ca-key.pem; then
  openssl req -x509 -new -key ca-key.pem -subj "/CN=$authority" -days 3650 -out "$work/new" \
    -addext basicConstraints=critical,CA:true,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign
  put ca.pem 644
fi

# certificate NAME: for the host NAME, this machine, and as a client.
certificate() {
  (umask 022 && mkdir -p "$1")
  key "$1/key.pem" 644
  if ! cmp -s ca.pem "$1/ca.pem"; then
    cp ca.pem "$work/new"
    put "$1/ca.pem" 644
  fi
  if fits "$1/cert.pem" "$1/key.pem"; then return; fi
  openssl req -new -key "$1/key.pem" -subj "/CN=$1" -out "$work/request"
  openssl x509 -req -in "$work/request" -CA ca.pem -CAkey ca-key.pem -set_serial "0x$(openssl rand -hex 16)" -days 397 \
    -out "$work/new" -extfile <(printf '%s\n' "subjectAltName=DNS:$1,DNS:localhost,IP:127.0.0.1,IP:::1" \
      basicConstraints=critical,CA:false keyUsage=critical,digitalSignature extendedKeyUsage=serverAuth,clientAuth) \
    2>"$work/log" || { cat "$work/log" >&2; exit 1; }
  put "$1/cert.pem" 644
}
for name in "${names[@]}"; do certificate "$name"; done
