"""Ids by which one call is found again in the logs: the caller's own where it is fit, else a new one."""

import os
import re
from contextvars import ContextVar

REQUEST_ID: ContextVar[str] = ContextVar("REQUEST_ID", default="")
"""The id of the call at hand, "" where it has none. It travels with the commands of the call."""

_FIT = re.compile(r"[A-Za-z0-9._:@/+=-]{1,128}", re.ASCII)


def new_request_id() -> str:
    """Sixteen hex digits that no other process makes."""
    return os.urandom(8).hex()


def fit_request_id(given: str | None) -> str:
    """The caller's id if it may be shown in logs and headers, else ""."""
    return given if given is not None and _FIT.fullmatch(given) else ""
