"""The HTTP front end's worker with little patience, for tests that wait until it has come to an end.

GUNICORN_CMD_ARGS=--worker-class=tests.support.hasty_worker.HastyWorker puts it in the place of ours.
"""

from app.http.worker import CarefulWorker


class HastyWorker(CarefulWorker):
    """Waits a second for the head of a request."""

    head_within_seconds = 1.0
