"""Rows of guests that run now: one collector per source, each in a thread of its own.

base.py        the interface, and what a failing source says
proc.py        the QEMU process and its vCPU threads               (found by find.py)
tap.py         ... and the counters of its network interface
qmp.py         block statistics and status                          (over monitor.py, a bounded QMP client)
guest_feed.py  what the guest says over virtio-serial, or           (bounded by lines.py)
guest_agent.py ... through QEMU's guest agent
netflow.py     flow export datagrams                                (decoded by export/)
supervise.py   starts, backs off and restarts each alone
"""
