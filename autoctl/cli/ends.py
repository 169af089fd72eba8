"""How a command ends that was interrupted, or whose output nobody reads: as shells know it."""

from __future__ import annotations

import os
import sys
from typing import Final, NoReturn

INTERRUPTED: Final = 130
"""Ctrl-C: 128 and the signal's number."""
UNREAD: Final = 141
"""The reader of a pipe is gone, as in `| head`: 128 and SIGPIPE's number."""


def unread() -> NoReturn:
    """End quietly: nobody reads the output any more."""
    drop_output()
    sys.exit(UNREAD)


def drop_output() -> None:
    """Let go what is left in stdout's buffer; at the end it would be tried, and told, once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
