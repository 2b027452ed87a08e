"""Root that works on folders of the agent's user becomes that user: what root left there the agent could not change,
and what a bundle holds is not run as root."""

from __future__ import annotations

import os
import pwd
import selectors
import signal
from pathlib import Path


def become_owner(folder: Path) -> None:
    """For good. Nothing happens where the folder is not there, or is root's, or where this is another user.

    What then runs may be the owner's own code, so it gets no hold of root's terminal: it is a session of its own, and
    what it says is passed on by a process that stays root's and does nothing else. Raises `OSError` where the system
    does not let root do it.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = folder.stat()
    except OSError:  # whoever opens it says so
        return
    if owner.st_uid == 0:
        return
    if any(os.isatty(stream) for stream in (0, 1, 2)):
        _leave_the_terminal()
    try:
        os.initgroups(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)
    except KeyError:  # a number without a name
        os.setgroups([])
    os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
    os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)


def _leave_the_terminal() -> None:
    """Goes on in a child; the parent passes on what that says, and ends as it ends."""
    pipes = {1: os.pipe(), 2: os.pipe()}
    child = os.fork()
    if child == 0:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        for stream, (read, write) in pipes.items():
            os.dup2(write, stream)
            os.close(read)
            os.close(write)
        os.close(nothing)
        return
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: os.kill(child, number))
    with selectors.DefaultSelector() as selector:
        for stream, (read, write) in pipes.items():
            os.close(write)
            selector.register(read, selectors.EVENT_READ, stream)
        while selector.get_map():
            for key, _ in selector.select():
                if data := os.read(key.fd, 1 << 16):
                    os.write(key.data, data)
                else:
                    selector.unregister(key.fd)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(status if status >= 0 else 128 - status)
