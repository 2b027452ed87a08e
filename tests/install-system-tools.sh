#!/bin/sh
# Mosquitto (a real broker), its clients (an independent subscriber), QEMU (a real guest), pmacctd (a real flow exporter),
# nfdump (an independent collector), iproute2 (namespaces), Chromium (pages are looked at), npm (judges that exist for
# Node alone), nginx (a proxy before the pages), compilers for this machine and for a Pi, and what makes and judges packages,
# from the system's packages. Only what is missing is installed: a Node from elsewhere, say, and Debian's npm do not
# go together.
# Debian's packages also start a broker, an exporter, a collector and a proxy of their own on machines that run systemd; the tests
# do not use those.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
missing() { # the packages of what is not there
    while read -r tool packages; do
        command -v "$tool" >/dev/null 2>&1 || printf '%s ' "$packages"
    done <<END
mosquitto mosquitto
mosquitto_sub mosquitto-clients
qemu-system-x86_64 qemu-system-x86
qemu-system-aarch64 qemu-system-arm
pmacctd pmacct
nfcapd nfdump
ip iproute2
chromium chromium
npm npm
nginx nginx-light
cc gcc libc6-dev
aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
help2man help2man
mmdebstrap mmdebstrap
systemd-nspawn systemd-container
systemd-analyze systemd
lintian lintian
shellcheck shellcheck
man man-db
mke2fs e2fsprogs
END
}
packages=$(missing)
[ -n "$packages" ] || exit 0
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
packages=$(missing)
if [ -n "$packages" ]; then
    echo "make: found nothing of $packages; expected all of it; install $packages" >&2
    exit 2
fi
