#!/bin/sh
# A tiny guest of Debian's kernel and busybox, for trying things out and for the tests:
#   build.sh OUT     makes OUT/kernel and OUT/initrd (about 10 MB) for this machine's own architecture, once
# It needs no root: packages are fetched and unpacked, not installed. See docs/live.md for how it is started.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1
stamp=$(cat "$here"/build.sh "$here"/init "$here"/feed.c "$here"/feed.sh | cksum)
if [ -f "$out/initrd" ] && [ "$(cat "$out/.made-from" 2>/dev/null)" = "$stamp" ]; then exit 0; fi
rm -rf "$out"
mkdir -p "$out/packages" "$out/root/drivers" "$out/root/bin"
out=$(cd "$out" && pwd)
cd "$out/packages"
cloud=linux-image-cloud-$(dpkg --print-architecture)
kernel=$(apt-cache depends "$cloud" | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
[ -n "$kernel" ] || { echo "guest: no $cloud; expected Debian's packages; apt-get update" >&2; exit 2; }
apt-get download -q -o APT::Sandbox::User=root "$kernel" busybox-static >/dev/null
for package in *.deb; do dpkg -x "$package" unpacked; done
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
        "$out/root/bin/busybox" unxz -c "$modules/$driver.ko.xz" >"$out/root/drivers/$(basename "$driver").ko"
    else
        continue # part of this kernel
    fi
    basename "$driver.ko" >>"$out/root/drivers/order"
done
if command -v cc >/dev/null; then
    cc -static -Os -Wall -Wextra -Werror -o "$out/root/feed" "$here/feed.c"
    strip "$out/root/feed"
else
    echo "guest: no C compiler: it reports by its shell alone, five times a second instead of ten" >&2
fi
cp "$here/feed.sh" "$here/init" "$out/root/"
chmod 755 "$out/root/init" "$out/root/feed.sh"
cd "$out/root"
find . | LC_ALL=C sort | bin/busybox cpio -o -H newc 2>/dev/null | gzip -9n >"$out/initrd.part"
mv "$out/initrd.part" "$out/initrd"
rm -rf "$out/packages" "$out/root"
echo "$stamp" >"$out/.made-from"
