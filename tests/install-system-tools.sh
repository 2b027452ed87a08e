#!/bin/sh
# Mosquitto (a real broker), its clients (an independent subscriber), QEMU (a real guest), pmacctd (a real flow exporter),
# nfdump (an independent collector), iproute2 (namespaces), Chromium (pages are looked at), npm (judges that exist for
# Node alone), nginx (a proxy before the pages), compilers for this machine and for a Pi, and what makes and judges packages,
# from the system's packages.
# Debian's packages also start a broker, an exporter, a collector and a proxy of their own on machines that run systemd; the tests
# do not use those.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
tools="mosquitto mosquitto_sub qemu-system-x86_64 qemu-system-aarch64 pmacctd nfcapd ip chromium npm nginx cc
    aarch64-linux-gnu-gcc help2man mmdebstrap systemd-nspawn systemd-analyze lintian shellcheck man mke2fs"
packages="mosquitto mosquitto-clients qemu-system-x86 qemu-system-arm pmacct nfdump iproute2 chromium npm nginx-light gcc
    libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross help2man mmdebstrap systemd-container systemd lintian shellcheck man-db e2fsprogs"
missing() {
    for tool in $tools; do
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
    echo "installing $packages"
    $as_root apt-get update -q >/dev/null || true
    # shellcheck disable=SC2086 # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages >/dev/null || true
fi
if missing; then
    echo "make: one of $tools is missing; expected all of them; install $packages" >&2
    exit 2
fi
