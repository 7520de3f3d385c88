"""One store for several people: what is written into a group's folder is the group's to go on with."""

from __future__ import annotations

import os
import stat
from pathlib import Path

GROUP = 0o070


def share_with_group(store: Path) -> bool:
    """Let the group change what this process and its children write, if the store's folder is made for that.

    It is when it hands its group on and lets the group write (``chmod g+ws``): then the umask, which is usually 022,
    would make a colleague's next attempt fail on the first file. Returns whether it is so.
    """
    try:
        mode = store.stat().st_mode
    except OSError:
        return False
    wanted = bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)
    if wanted:
        os.umask(os.umask(0o077) & ~GROUP)
    return wanted
