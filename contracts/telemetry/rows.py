"""One typed row per source. Rows hold raw counters; rates are made later, from differences.

`t_wall_ns` is Unix time and is what everything is aligned by. `t_mono_ns` has a base of its own in every source.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from contracts.phases import Phase, Source

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A raw counter or gauge, as the host or the guest reported it."""
Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""A time in ns."""
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]
Text = Annotated[str, msgspec.Meta(max_length=64)]


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    t_wall_ns: Nanoseconds
    t_mono_ns: Nanoseconds


class ProcRow(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The QEMU process as `/proc` shows it, and the host's counters of the guest's tap."""

    pid: Count
    starttime: Count
    state: Text
    utime: Count
    stime: Count
    minflt: Count
    majflt: Count
    num_threads: Count
    rss_bytes: Count
    vol_ctxt: Count
    invol_ctxt: Count
    main_run_ns: Count
    vcpu_run_ns: Count
    vcpu_wait_ns: Count
    vcpu_slices: Count
    read_bytes: Count
    write_bytes: Count
    tap_rx_bytes: Count
    tap_rx_packets: Count
    tap_tx_bytes: Count
    tap_tx_packets: Count


class QmpRow(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One poll of QEMU's machine protocol: status and the scratch disk's block statistics."""

    status: Text
    rd_bytes: Count
    wr_bytes: Count
    rd_operations: Count
    wr_operations: Count
    flush_operations: Count
    rd_total_time_ns: Count
    wr_total_time_ns: Count
    flush_total_time_ns: Count
    idle_time_ns: Count
    wr_highest_offset: Count
    poll_ns: Count


class GuestRow(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What the guest says of itself, stamped with the host's time of receipt. The guest may lie."""

    g_wall_ns: Nanoseconds
    g_mono_ns: Nanoseconds
    boot_id: Text
    cpu_user: Count
    cpu_system: Count
    cpu_iowait: Count
    cpu_idle: Count
    ctxt: Count
    intr: Count
    procs_running: Count
    mem_free_kb: Count
    slab_kb: Count
    wr_sectors: Count
    rd_sectors: Count
    tcp_active_opens: Count


class NetflowRow(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One unidirectional flow record. `t_mono_ns` is the exporter's uptime and says nothing about our clocks."""

    recv_wall_ns: Nanoseconds
    start_wall_ns: Nanoseconds
    end_wall_ns: Nanoseconds
    src: Text
    dst: Text
    sport: Port
    dport: Port
    proto: Byte
    tcp_flags: Byte
    packets: Count
    bytes: Count


class LabelRow(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The start of a phase, as the recorder commanded it."""

    phase: Phase


Row = ProcRow | QmpRow | GuestRow | NetflowRow

ROW_TYPES: dict[Source, type[ProcRow] | type[QmpRow] | type[GuestRow] | type[NetflowRow]] = {
    "proc": ProcRow,
    "qmp": QmpRow,
    "guest": GuestRow,
    "netflow": NetflowRow,
}


def arrival_ns(row: Row) -> int:
    """When the row could first be known, Unix ns: its sampling moment, or a flow record's receipt."""
    return row.recv_wall_ns if isinstance(row, NetflowRow) else row.t_wall_ns
