#!/usr/bin/env bash
# Installs the real peers from Debian; does nothing where they are there. Needs root.
set -euo pipefail

packages=(prosody lua-sec lua-unbound ejabberd)
for more in "$(dirname "$0")"/*/packages; do
  [ -f "$more" ] && mapfile -t -O "${#packages[@]}" packages < "$more"
done

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -eq 0 ]; then
  echo "all peers are installed"
  exit 0
fi

# The services must not start by themselves: the tests start them, on addresses of their own.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q "${missing[@]}"
