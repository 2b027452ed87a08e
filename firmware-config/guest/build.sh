#!/bin/sh
# A tiny guest of Debian's kernel and busybox, for trying things out and for the tests:
#   build.sh OUT [ARCHITECTURE]     makes OUT/kernel and OUT/initrd (about 16 MB), once; ARCHITECTURE: as Debian says it
#                                   (amd64, arm64), by default this machine's own
# It needs no root: packages are fetched and unpacked, not installed. See docs/live.md for how it is started.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1
own=$(dpkg --print-architecture)
architecture=${2:-$own}
stamp=$(cat "$here"/build.sh "$here"/init "$here"/feed.c "$here"/feed.sh "$here"/work.c | cksum)
if [ -f "$out/initrd" ] && [ "$(cat "$out/.made-from" 2>/dev/null)" = "$stamp" ]; then exit 0; fi
rm -rf "$out"
mkdir -p "$out/packages" "$out/root/drivers" "$out/root/bin"
out=$(cd "$out" && pwd)
cd "$out/packages"
cloud=linux-image-cloud-$architecture
refuse() {
    echo "guest: no $1; expected Debian's packages for $architecture; apt-get update, and see whether its mirror has them" >&2
    exit 2
}
compiler=cc
: >apt.conf
if [ "$architecture" != "$own" ]; then # an apt of its own: the machine's knows nothing of other architectures
    mkdir -p state/lists/partial cache/archives/partial
    : >status
    cat >apt.conf <<END
#clear APT::Architectures;
APT::Architecture "$architecture"; APT::Architectures { "$architecture"; };
Dir::State "$out/packages/state"; Dir::State::status "$out/packages/status"; Dir::Cache "$out/packages/cache";
END
    apt-get -c apt.conf -o APT::Sandbox::User=root -qq update >/dev/null 2>&1 || true # a mirror may lack this architecture
    compiler=$(case $architecture in arm64) echo aarch64 ;; amd64) echo x86_64 ;; *) echo "$architecture" ;; esac)-linux-gnu-gcc
fi
kernel=$(apt-cache -c apt.conf depends "$cloud" 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
[ -n "$kernel" ] || refuse "$cloud"
apt-get -c apt.conf download -q -o APT::Sandbox::User=root "$kernel" busybox-static >/dev/null 2>&1 || refuse "$kernel"
for package in *.deb; do dpkg -x "$package" unpacked; done
tools=$out/root/bin/busybox # cpio and unxz, by a busybox that runs here
if [ "$architecture" != "$own" ]; then
    mkdir tools
    (cd tools && apt-get download -q -o APT::Sandbox::User=root busybox-static >/dev/null && dpkg -x ./*.deb .)
    tools=$(find "$out/packages/tools" -path '*bin/busybox' | head -n 1)
fi
cp unpacked/boot/vmlinuz-* "$out/kernel"
tree=unpacked
[ -e "$tree/bin/busybox" ] || tree=unpacked/usr # since Debian 13
cp "$tree/bin/busybox" "$out/root/bin/busybox"
modules=$(find unpacked/lib/modules unpacked/usr/lib/modules -maxdepth 2 -name kernel 2>/dev/null | head -n 1)
for driver in drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_legacy_dev \
    drivers/virtio/virtio_pci_modern_dev drivers/virtio/virtio_pci drivers/virtio/virtio_mmio net/core/failover \
    drivers/net/net_failover drivers/net/virtio_net drivers/block/virtio_blk drivers/char/virtio_console; do
    if [ -f "$modules/$driver.ko" ]; then
        cp "$modules/$driver.ko" "$out/root/drivers/"
    elif [ -f "$modules/$driver.ko.xz" ]; then # Debian 13's are packed
        "$tools" unxz -c "$modules/$driver.ko.xz" >"$out/root/drivers/$(basename "$driver").ko"
    else
        continue # part of this kernel
    fi
    basename "$driver.ko" >>"$out/root/drivers/order"
done
if command -v "$compiler" >/dev/null; then
    for program in feed work; do
        "$compiler" -static -s -Os -Wall -Wextra -Werror -o "$out/root/$program" "$here/$program.c"
    done
else
    echo "guest: no $compiler: it reports by its shell alone, five times a second instead of ten, and cannot work to order" >&2
fi
cp "$here/feed.sh" "$here/init" "$out/root/"
chmod 755 "$out/root/init" "$out/root/feed.sh"
cd "$out/root"
find . | LC_ALL=C sort | "$tools" cpio -o -H newc 2>/dev/null | gzip -9n >"$out/initrd.part"
[ "$(wc -c <"$out/initrd.part")" -gt 100000 ] || { echo "guest: cpio made no initrd; expected busybox's own; see $out" >&2; exit 2; }
mv "$out/initrd.part" "$out/initrd"
rm -rf "$out/packages" "$out/root"
echo "$stamp" >"$out/.made-from"
