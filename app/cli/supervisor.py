"""Keeps child processes running: starts them in stages, restarts what dies, stops them in reverse.

Knows nothing of what they do, and never lets one outlive it, even when it is killed itself.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

REFUSED = 2  # the exit code of a child that cannot run as configured: starting it again is pointless
_NOT_STARTED = 127  # what a shell answers for a program that it cannot start

_STDERR = 2  # what children print goes there, so that standard output stays ours
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_HEALTHY_AFTER_SECONDS = 10.0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# It leads the process group of all children and waits on a pipe that nobody writes to: the end of
# the file means that the supervisor is gone, however it went. The same on Linux and macOS.
_WATCHER = """
trap '' HUP INT TERM
read -r _
kill -TERM 0
sleep "$1"
kill -KILL 0
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A process to keep running; `pass_fds` are open files that it inherits."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)  # may hold secrets
    pass_fds: Sequence[int] = ()


class Supervisor:
    """Runs children for the length of an `async with` block.

    The block is cancelled, and left without an exception, when a signal asks to stop or a child
    refuses its configuration; `exit_code` then says which. On the way out the stages are stopped in
    reverse order. A signal that arrives meanwhile kills what is left.
    """

    def __init__(self, *, grace_seconds: float = 15.0) -> None:
        self.exit_code = 0
        self._grace_seconds = grace_seconds
        self._stages: list[list[_Keeper]] = []
        self._ending = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._block = asyncio.current_task()
        # Not inheritable: a child that held the write end would keep the watcher waiting.
        read_end, self._alive_pipe = os.pipe()
        self._watcher = await asyncio.create_subprocess_exec(
            *("sh", "-c", _WATCHER, "watcher", str(self._grace_seconds)),
            stdin=read_end,
            process_group=0,
        )
        os.close(read_end)
        self._watching = asyncio.create_task(self._watch_the_watcher())
        for number in _STOP_SIGNALS:
            self._loop.add_signal_handler(number, self._on_signal)
        return self

    async def start(self, *children: Child) -> None:
        """Start one more stage; it will be stopped before the stages that were started earlier."""
        stage = [_Keeper(child, self._watcher.pid) for child in children]
        self._stages.append(stage)
        for keeper in stage:
            keeper.task.add_done_callback(self._on_keeper_done)
        await asyncio.sleep(0)  # lets every task start its process, in this order

    def restarts(self, name: str) -> int:
        """Return how often the child of that name died and was started again."""
        return sum(keeper.restarts for keeper in self._keepers() if keeper.child.name == name)

    async def run(self) -> None:
        """Wait until the block is cancelled."""
        await self._loop.create_future()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        cancelled_by_us = self._ending and kind is asyncio.CancelledError
        self._ending = True
        try:
            for stage in reversed(self._stages):
                await self._stop(stage)
        finally:
            self._kill_all()
            await self._watching
            os.close(self._alive_pipe)
            for number in _STOP_SIGNALS:
                self._loop.remove_signal_handler(number)
        if cancelled_by_us and self._block:
            self._block.uncancel()
        return cancelled_by_us

    async def _stop(self, stage: list["_Keeper"]) -> None:
        for keeper in stage:
            keeper.stop(signal.SIGTERM)
        _, late = await asyncio.wait([keeper.task for keeper in stage], timeout=self._grace_seconds)
        for keeper in stage:
            if keeper.task in late:
                _log.warning("%s did not stop in %g s: killed", keeper.child.name, self._grace_seconds)
                keeper.stop(signal.SIGKILL)
        if late:
            await asyncio.wait(late)

    def _keepers(self) -> list["_Keeper"]:
        return [keeper for stage in self._stages for keeper in stage]

    def _on_signal(self) -> None:
        if self._ending:
            self._kill_all()
        else:
            self._end(0)

    def _on_keeper_done(self, task: "asyncio.Task[int]") -> None:
        if not task.cancelled() and task.result() == REFUSED:
            self._end(REFUSED)

    def _end(self, exit_code: int) -> None:
        if not self._ending and self._block:
            self._ending = True
            self.exit_code = exit_code
            self._block.cancel()

    def _kill_all(self) -> None:
        for keeper in self._keepers():
            keeper.stop(signal.SIGKILL)
        # The group holds the watcher and what children left behind. Once the watcher is gone, its
        # number may belong to somebody else.
        if self._watcher.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._watcher.pid, signal.SIGKILL)

    async def _watch_the_watcher(self) -> None:
        await self._watcher.wait()
        if not self._ending:
            _log.error("the watcher of the children is gone: stopping, so that none can be left behind")
            self._end(1)


class _Keeper:
    """One child: started again whenever it ends, until it is told to stop or refuses."""

    def __init__(self, child: Child, group: int) -> None:
        self.child = child
        self.restarts = 0
        self._group = group
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._signal = signal.SIGTERM
        self.task = asyncio.create_task(self._keep())

    def stop(self, number: signal.Signals) -> None:
        """Send the signal to the process and start it no more."""
        self._signal = number
        self._stopping.set()
        if self._process and self._process.returncode is None:
            # Not Process.send_signal: it may reap the child itself, and its exit code would be lost.
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def _keep(self) -> int:
        """Return the exit code of the last run."""
        clock = asyncio.get_running_loop().time
        pause = _FIRST_PAUSE_SECONDS
        while True:
            born = clock()
            code = await self._run_once()
            if self._stopping.is_set():
                return 0
            if code == REFUSED:
                _log.error("%s refuses to run as configured (exit code %d)", self.child.name, code)
                return code
            if clock() - born >= _HEALTHY_AFTER_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            _log.warning("%s ended (exit code %d): again in %g s", self.child.name, code, pause)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
                return 0
            self.restarts += 1
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _run_once(self) -> int:
        """Run the child to its end; a negative code is the signal that ended it."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.child.argv,
                env=self.child.env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=_STDERR,
                process_group=self._group,
                pass_fds=self.child.pass_fds,
            )
        except OSError as error:
            _log.warning("%s cannot be started: %s", self.child.name, error)
            return _NOT_STARTED
        if self._stopping.is_set():  # told to stop while the process was being made
            self.stop(self._signal)
        return await self._process.wait()
