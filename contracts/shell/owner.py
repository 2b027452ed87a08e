"""Root that works on folders of the agent's user becomes that user: what root left there the agent could not change,
and what a bundle holds is not run as root."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def become_owner(folder: Path) -> None:
    """For good. Nothing happens where the folder is not there, or is root's, or where this is another user.

    Raises `OSError` where the system does not let root do it.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = folder.stat()
    except OSError:  # whoever opens it says so
        return
    if owner.st_uid == 0:
        return
    try:
        os.initgroups(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)
    except KeyError:  # a number without a name
        os.setgroups([])
    os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
    os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)
