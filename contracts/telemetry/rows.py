"""One typed row per source. Rows hold raw counters; rates are made later, from differences.

`t_wall_ns` is Unix time and is what everything is aligned by. `t_mono_ns` has a base of its own in every source.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from contracts.types import Count, Nanoseconds
from contracts.vocabulary import Phase, Source

Reading = Count | None
"""A counter or gauge that may be out of reach (no permission, an old kernel, an unused disk): null = not observed."""
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
    utime: Reading
    stime: Reading
    minflt: Reading
    majflt: Reading
    num_threads: Reading
    rss_bytes: Reading
    vol_ctxt: Reading
    invol_ctxt: Reading
    main_run_ns: Reading
    vcpu_run_ns: Reading
    vcpu_wait_ns: Reading
    vcpu_slices: Reading
    read_bytes: Reading
    write_bytes: Reading
    tap_rx_bytes: Reading
    tap_rx_packets: Reading
    tap_tx_bytes: Reading
    tap_tx_packets: Reading


class QmpRow(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One poll of QEMU's machine protocol: status and the disks' block statistics."""

    status: Text
    rd_bytes: Reading
    wr_bytes: Reading
    rd_operations: Reading
    wr_operations: Reading
    flush_operations: Reading
    rd_total_time_ns: Reading
    wr_total_time_ns: Reading
    flush_total_time_ns: Reading
    idle_time_ns: Reading
    wr_highest_offset: Reading
    poll_ns: Count


class GuestRow(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What the guest says of itself, stamped with the host's time of receipt. The guest may lie."""

    g_wall_ns: Nanoseconds
    g_mono_ns: Nanoseconds
    boot_id: Text
    cpu_user: Reading
    cpu_system: Reading
    cpu_iowait: Reading
    cpu_idle: Reading
    ctxt: Reading
    intr: Reading
    procs_running: Reading
    mem_free_kb: Reading
    slab_kb: Reading
    wr_sectors: Reading
    rd_sectors: Reading
    tcp_active_opens: Reading


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
