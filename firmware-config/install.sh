#!/bin/sh
# For machines where the Debian package does not fit (another distribution, another Python): the same agent, service and
# folders, by a wheel in an environment of its own.
#
#   install.sh WHEEL          as root, from a clone or with firmware-config beside it; again to upgrade
#   install.sh --remove       takes program and units away; configuration, bundles and outbox stay
#   install.sh --purge        takes these, too
#
# WHEEL is made on the workstation: python -m pip wheel --no-deps --wheel-dir build .
# The packages that it needs come from where pip gets them, by the names, versions and hashes of requirements.txt.
# DESTDIR=folder puts everything below a folder, and starts nothing.
set -eu
umask 022
here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}
home=/opt/phasewatch
units="phasewatch-edge.service phasewatch-edge-again.timer phasewatch-exporter@.service phasewatch-update.service
    phasewatch-update.timer phasewatch-update.path"

refuse() {
    echo "install.sh: $*" >&2
    exit 2
}
booted() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

remove() {
    if booted; then
        systemctl disable --now phasewatch-edge.service phasewatch-update.timer phasewatch-update.path 2>/dev/null || :
    fi
    for unit in $units; do rm -f "$root/etc/systemd/system/$unit"; done
    rm -rf "$root$home"
    rm -f "$root/usr/local/bin/edge" "$root/etc/sysusers.d/phasewatch.conf" "$root/etc/tmpfiles.d/phasewatch.conf"
    if booted; then systemctl daemon-reload; fi
}

[ "$#" -eq 1 ] || refuse "$# arguments; expected one; say install.sh WHEEL, --remove or --purge"
[ "$(id -u)" -eq 0 ] || refuse "not root; expected root; use sudo"
case "$1" in
--remove)
    remove
    echo "removed; /etc/phasewatch and /var/lib/phasewatch stay (install.sh --purge)"
    exit 0
    ;;
--purge)
    remove
    rm -rf "$root/etc/phasewatch" "$root/var/lib/phasewatch"
    echo "removed, with configuration, bundles and outbox"
    exit 0
    ;;
-*) refuse "option $1; expected --remove or --purge; see the top of this file" ;;
esac
wheel=$1
[ -f "$wheel" ] || refuse "$wheel: no such file; expected a wheel of phasewatch; make it: python -m pip wheel --no-deps ."
[ ! -e "$root/usr/lib/phasewatch" ] ||
    refuse "$root/usr/lib/phasewatch: the Debian package is installed; expected one of the two; apt-get remove phasewatch-edge"
python=
for one in python3.13 python3.12 python3.11 python3; do
    if "$one" -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        python=$one
        break
    fi
done
[ -n "$python" ] || refuse "no Python from 3.11 to 3.13 with venv; expected one; apt-get install python3-venv"
"$python" -c 'import sys; sys.exit(sys.maxsize < 2**32)' || refuse "a Python of 32 bits; expected 64; install a 64-bit system"

# beside what runs, and then in its place
rm -rf "$root$home.new"
mkdir -p "$root${home%/*}"
"$python" -m venv "$root$home.new"
"$root$home.new/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$here/requirements.txt"
"$root$home.new/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$wheel"
config=$root/etc/phasewatch
mkdir -p "$config/trust" "$config/credentials"
chmod 0700 "$config/credentials"
fresh=no
if [ ! -e "$config/edge.toml" ]; then
    # no guest yet: the sample's is a comment
    sed '/^\[\[guest\]\]/,$ s/^\([^#]\)/# \1/' "$here/edge.toml" >"$config/edge.toml"
    fresh=yes
fi
for one in pmacctd.conf systemd/update.env; do
    [ -e "$config/${one##*/}" ] || cp "$here/$one" "$config/"
done
if ! fault=$("$root$home.new/bin/python" -I -m edge.cli check-config --wait "$config/edge.toml" 2>&1 >/dev/null); then
    rm -rf "$root$home.new"
    refuse "$fault (what runs goes on as it is)"
fi
rm -rf "$root$home.old"
[ ! -e "$root$home" ] || mv "$root$home" "$root$home.old"
mv "$root$home.new" "$root$home"
rm -rf "$root$home.old"

mkdir -p "$root/usr/local/bin" "$root/etc/systemd/system" "$root/etc/sysusers.d" "$root/etc/tmpfiles.d"
sed "1 s|.*|#!$home/bin/python3 -I|" "$here/deb/edge/launcher" >"$root/usr/local/bin/edge"
chmod 0755 "$root/usr/local/bin/edge"
for unit in $units; do
    sed "s|/usr/bin/edge|/usr/local/bin/edge|" "$here/systemd/$unit" >"$root/etc/systemd/system/$unit"
done
cp "$here/systemd/phasewatch-edge.sysusers" "$root/etc/sysusers.d/phasewatch.conf"
cp "$here/systemd/phasewatch-edge.tmpfiles" "$root/etc/tmpfiles.d/phasewatch.conf"
if [ -z "$root" ]; then
    systemd-sysusers phasewatch.conf
    install -d -m 0750 -o phasewatch -g phasewatch /var/lib/phasewatch
fi
if booted; then
    systemd-tmpfiles --create phasewatch.conf
    systemctl daemon-reload
    systemctl enable phasewatch-edge.service
    systemctl restart phasewatch-edge.service
fi
if [ "$fresh" = yes ]; then
    echo "installed; write a guest into /etc/phasewatch/edge.toml, and: systemctl reload phasewatch-edge"
else
    echo "installed; the configuration is as it was"
fi
