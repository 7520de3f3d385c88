"""The one error that a user of the command line is meant to read."""

from __future__ import annotations


class UserError(Exception):
    """Bad input: the message names the file or key and says what to do.

    ``mm3d`` prints the message without a traceback and exits with status 1. Anything else that
    escapes is a bug of ours and keeps its traceback.
    """
