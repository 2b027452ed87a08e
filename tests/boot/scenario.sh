#!/bin/sh
# What happens on a whole machine (tests/boot/machine.py): each step says what it saw, or why it failed. Runs as a unit after the
# boot, with the agent, a broker, a guest and its exporter installed and enabled. stage=1 ends by a pulled plug, stage=2 comes after.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
stage=$(sed -n 's/.*stage=\([0-9]\).*/\1/p' /proc/cmdline)
steps=$(sed -n 's/.*steps=\([a-z]*\).*/\1/p' /proc/cmdline)
heard=/var/tmp/heard.txt
unit=phasewatch-edge

fail() {
    echo "STEP-FAILED $*"
    journalctl --no-pager --output=short-monotonic --lines=60 --unit="$unit" --unit='phasewatch-*' --unit=mosquitto
    systemctl --no-pager --failed
    exit 1
}
step() { echo "STEP $(cut -d' ' -f1 /proc/uptime) $*"; }
of() { systemctl show --property="$1" --value "${2:-$unit}"; }
count() { grep -c "$1" "$heard" 2>/dev/null || :; }
# until SECONDS COMMAND…: every second
until_() {
    end=$(($(date +%s) + $1))
    shift
    until "$@"; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 1
    done
}
more_windows() { [ "$(count camera-1/window)" -gt "$1" ]; }
is() { [ "$(of "$1")" = "$2" ]; }
is_not() { [ "$(of "$1")" != "$2" ]; }

password=$(cat /etc/phasewatch/credentials/dashboard-mqtt-password)
mosquitto_sub -h 127.0.0.1 -u dashboard -P "$password" -t 'phasewatch/#' -q 1 -i "scenario" -c -F '%t %p' >>"$heard" &

until_ 300 is ActiveState active || fail "the agent is not active: $(of ActiveState)"
step "booted; the agent is ready: $(of StatusText); $(systemd-analyze time | head -n 1)"
# an emulated guest of an emulated machine takes a core, for nothing once it was seen
slow_guest() { systemctl set-property --runtime phasewatch-guest@camera-1 CPUQuota=5% || fail "CPUQuota"; }
if [ "$steps" = few ]; then # a booted container watches a guest that boots (tests/boot/test_service.py)
    known() { ! of StatusText | grep -q 'camera-1 without.* proc'; }
    until_ 120 known || fail "the guest is not found: $(of StatusText)"
    slow_guest
fi
before=$(count camera-1/window)
until_ 300 more_windows "$before" || fail "no window"
seen() { tail -n 1 "$heard" | grep -q '"observed":{"proc":0.875,.*"netflow":1'; }
until_ 300 seen || fail "the guest is not seen: $(tail -n 1 "$heard")"
step "a window of the guest at the broker: $(tail -n 1 "$heard" | sed 's/.*"observed":\({[^}]*}\).*/\1/')"
[ "$steps" = few ] || slow_guest

if [ "$stage" = 1 ]; then
    until_ 120 sh -c 'systemctl is-active --quiet phasewatch-exporter@tap0' || fail "no exporter"
    step "the exporter began with its tap: $(of ActiveState sys-subsystem-net-devices-tap0.device)"

    if [ "$steps" = all ]; then # a booted container is asked the same (tests/boot/test_service.py)
        pid=$(of MainPID)
        kill -STOP "$pid"
        until_ 200 is_not MainPID "$pid" || fail "a hung agent was not killed"
        journalctl --no-pager --output=cat --unit="$unit" | grep -q "Watchdog timeout" || fail "not by the watchdog"
        until_ 200 is ActiveState active || fail "not started anew"
        before=$(count camera-1/window)
        until_ 200 more_windows "$before" || fail "no window after the watchdog"
        step "a hung agent was killed by the watchdog and started anew: restarts $(of NRestarts)"
    fi

    pid=$(of MainPID)
    sed -i 's/^\[netflow\]/# a comment more\n[netflow]/' /etc/phasewatch/edge.toml
    systemctl reload "$unit" || fail "reload"
    edge install /root/other.bundle || fail "install"
    until_ 100 grep -q 000000000001 "$heard" || fail "the other bundle does not run"
    [ "$(of MainPID)" = "$pid" ] || fail "another process after a reload"
    step "another configuration and another bundle, by the same process"

    echo "COST memory $(of MemoryCurrent) bytes, CPU $(of CPUUsageNSec) ns, tasks $(of TasksCurrent)"
    restarts=$(of NRestarts)
    systemctl set-property --runtime "$unit" MemoryMax=24M || fail "MemoryMax"
    until_ 120 is_not NRestarts "$restarts" || fail "an agent over MemoryMax was not killed"
    journalctl --no-pager --output=cat --unit="$unit" | grep -q "oom-kill" || fail "not for its memory"
    systemctl revert "$unit"
    systemctl set-property --runtime "$unit" MemoryMax=256M || fail "MemoryMax"
    systemctl reset-failed "$unit"
    systemctl restart "$unit" || fail "restart after MemoryMax"
    before=$(count camera-1/window)
    until_ 200 more_windows "$before" || fail "no window after MemoryMax"
    step "an agent over MemoryMax was killed and started anew"

    before=$(count 'availability stopped')
    systemctl stop "$unit" || fail "stop"
    [ "$(of Result)" = success ] || fail "stopped: $(of Result)"
    until_ 30 sh -c "[ \$(grep -c 'availability stopped' $heard) -gt $before ]" || fail "no word of the stop"
    step "a stop is told to the broker"
    # the broker goes, so that the outbox is what is written to when the plug is pulled
    systemctl stop mosquitto
    systemctl start "$unit" || fail "start"
    waiting() { python3 -c "import sqlite3; print(sqlite3.connect('file:/var/lib/phasewatch/outbox.sqlite?mode=ro', uri=True).execute(\"$1\").fetchone()[0])"; }
    window_waits() { [ "$(waiting "select count(*) from queue where topic like '%/window'")" -gt 0 ]; }
    until_ 200 window_waits || fail "no window after the start"
    echo "CUT-NOW $(waiting 'select count(*) from queue')"
    sleep infinity
fi

file=/var/lib/phasewatch/outbox.sqlite
[ "$(python3 -c "import sqlite3; print(sqlite3.connect('$file').execute('pragma integrity_check').fetchone()[0])")" = ok ] || fail "the outbox is damaged"
waited=$(journalctl --no-pager --output=cat --boot --unit="$unit" | sed -n 's/.* \([0-9]*\) events that wait go first/\1/p')
[ -n "$waited" ] || fail "nothing had waited"
echo "WAITED $waited"
tail -n 50 "$heard" | grep -q 000000000001 || fail "the bundle of before does not run"
edge status || fail "status"
step "after the plug was pulled: the outbox is whole, what waited was sent, the bundle runs"
echo "SCENARIO-DONE"
systemctl poweroff
