"""`balance metrics`: one page for all processes of this machine, and for the store they work on."""

import os
import signal
import sys

import click

from app.cli.supervisor import REFUSED
from app.config import Settings

_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


@click.command()
def metrics() -> None:
    """Serve /metrics at METRICS_PORT: what those who share METRICS_DIR count, and what the store says.

    Answers also while the store is away.
    """
    from app.bootstrap import make_store_collector
    from app.telemetry.logs import configure_logs
    from app.telemetry.metrics import Metrics
    from app.telemetry.page import serve
    from app.telemetry.sharing import SharedCounts, share

    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)  # before there are threads that could take them
    settings = Settings.from_environment(os.environ)
    configure_logs(settings.log_level, "metrics", settings.log_accounts)
    if settings.metrics_dir is not None:
        share(settings.metrics_dir, "metrics")
    own = Metrics("metrics")  # every metric is there from the first scrape on
    counts = SharedCounts(settings.metrics_dir) if settings.metrics_dir is not None else own.registry
    try:
        serve(settings.metrics_host, settings.metrics_port, counts, make_store_collector(settings))
    except OSError as error:
        click.echo(str(error), err=True)
        sys.exit(REFUSED)
    signal.sigwait(_STOP_SIGNALS)
