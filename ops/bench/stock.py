"""Stock Dramatiq for comparison: its RedisBroker, its result backend, an actor that does one tiny write.

`python -m ops.bench.stock URL` is its worker, as many threads as its command line starts.
"""

import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend
from redis import Redis

from ops.bench.load import Measured, Stopwatch

THREADS = 8
_COUNTER = "stock-counter"
_RESULT_TIMEOUT_MS = 10_000


class Stock:
    """The broker on a store, and the actor on it."""

    def __init__(self, url: str) -> None:
        self.broker = RedisBroker(url=url)
        self._results = RedisBackend(url=url)
        self.broker.add_middleware(Results(backend=self._results))
        self._client = Redis.from_url(url)
        self._actor = dramatiq.actor(broker=self.broker, store_results=True)(self._increment)

    def ask(self) -> None:
        """Send a message and wait for its result."""
        self._actor.send().get_result(backend=self._results, block=True, timeout=_RESULT_TIMEOUT_MS)

    def _increment(self) -> int:
        return int(self._client.incr(_COUNTER))


def closed_loop(url: str, seconds: float, *, in_flight: int) -> Measured:
    """`in_flight` callers, each with its next message as soon as the result of the last is there."""
    stock = Stock(url)
    stock.ask()
    watch = Stopwatch()
    until = time.perf_counter() + seconds

    def caller() -> None:
        while (began := time.perf_counter()) < until:
            stock.ask()
            watch.latencies.append(time.perf_counter() - began)

    with ThreadPoolExecutor(in_flight) as callers:
        for done in [callers.submit(caller) for _ in range(in_flight)]:
            done.result()
    measured = watch.stop()
    stock.broker.close()
    return measured


def idle(url: str, seconds: float) -> Measured:
    """One message a second."""
    stock = Stock(url)
    stock.ask()
    watch = Stopwatch()
    for _ in range(int(seconds)):
        time.sleep(1)
        began = time.perf_counter()
        stock.ask()
        watch.latencies.append(time.perf_counter() - began)
    measured = watch.stop()
    stock.broker.close()
    return measured


def main() -> None:
    worker = dramatiq.Worker(Stock(sys.argv[1]).broker, worker_threads=THREADS)
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    worker.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.sigwait(signals)
    worker.stop()


if __name__ == "__main__":
    main()
