"""`python -m workers.auditor`: one auditor process. Any number may run; they share the tasks.

It owns no partition: commits never wait for an audit.
"""

import logging
import os
import sys
from typing import Any

import dramatiq

from app.bootstrap import make_auditor
from app.config import Settings
from app.queueing.audit_broker import AUDIT_ACTOR_NAME, AUDIT_QUEUE_NAME, AuditBroker, decode_task
from app.services.audits import Audits
from app.services.faults import StoreRefused, StoreUnavailable
from app.telemetry.parts import NO_TELEMETRY, Telemetry
from workers.process import run

NICENESS = 5
"""Where they share a machine, those who serve callers come first."""

_log = logging.getLogger(__name__)


def declare_audits(broker: AuditBroker, audits: Audits) -> "dramatiq.Actor[[dict[str, Any]], None]":
    """Declare the actor that carries out audit tasks."""

    @dramatiq.actor(broker=broker, queue_name=AUDIT_QUEUE_NAME, actor_name=AUDIT_ACTOR_NAME)
    def audit(task: dict[str, Any]) -> None:
        try:
            audits.carry_out(decode_task(task))
        except StoreUnavailable as away:
            _log.warning("an audit is left in its queue: %s", away)
            broker.leave()
        except StoreRefused as refused:
            _log.error("ALARM an audit cannot be done: %s: %s", task, refused)

    return audit


def build(settings: Settings, telemetry: Telemetry = NO_TELEMETRY) -> AuditBroker:
    """The auditor's broker, actors declared."""
    parts = make_auditor(settings, telemetry)
    declare_audits(parts.broker, parts.audits)
    return parts.broker


def main() -> int:
    """Audit until SIGTERM or SIGINT; a second signal ends the process at once. The exit code."""
    os.nice(NICENESS)
    return run("auditor", build, "the task in hand is finished")


if __name__ == "__main__":
    sys.exit(main())
