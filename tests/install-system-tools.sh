#!/bin/sh
# Mosquitto (a real broker), its clients (an independent subscriber) and Chromium (pages are looked at), from the
# system's packages.
# Debian's package also starts a broker of its own on machines that run systemd; the tests do not use that one.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
missing() {
    for tool in mosquitto mosquitto_sub chromium cc; do
        command -v "$tool" >/dev/null 2>&1 || return 0
    done
    return 1
}
missing || exit 0
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    as_root="sudo -n"
fi
if command -v apt-get >/dev/null 2>&1 && $as_root true 2>/dev/null; then
    echo "installing mosquitto, mosquitto-clients, chromium and gcc"
    $as_root apt-get update -q >/dev/null || true
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        mosquitto mosquitto-clients chromium gcc libc6-dev >/dev/null || true
fi
if missing; then
    echo "make: mosquitto, mosquitto_sub, chromium or cc is missing; expected all of them; install mosquitto, mosquitto-clients, chromium and gcc" >&2
    exit 2
fi
