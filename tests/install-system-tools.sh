#!/bin/sh
# Mosquitto (a real broker), its clients (an independent subscriber), Chromium (pages are looked at) and compilers for
# this machine and for a Pi, from the system's packages.
# Debian's package also starts a broker of its own on machines that run systemd; the tests do not use that one.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
missing() {
    for tool in mosquitto mosquitto_sub chromium cc aarch64-linux-gnu-gcc; do
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
    echo "installing mosquitto, mosquitto-clients, chromium, gcc and gcc-aarch64-linux-gnu"
    $as_root apt-get update -q >/dev/null || true
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        mosquitto mosquitto-clients chromium gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross >/dev/null || true
fi
if missing; then
    echo "make: mosquitto, mosquitto_sub, chromium, cc or aarch64-linux-gnu-gcc is missing; expected all of them; install mosquitto, mosquitto-clients, chromium, gcc and gcc-aarch64-linux-gnu" >&2
    exit 2
fi
