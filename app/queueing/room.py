"""How many commands may wait in a front end: as many as are answered while a caller still waits.

What waits longer than its caller is work for nobody, and under load that would soon be all the work there is.
What is stuck, behind a partition that answers nothing or a message that was lost, is in nobody's way: some of
it does not count, and the others are served as fast as before. Not all: where all is slow, all looks stuck.
"""

from app.queueing import limits


class Room:
    """Counts what waits, and how much of that is stuck; learns from what is answered how much may wait.

    `most` is never exceeded.
    """

    def __init__(self, most: int) -> None:
        self.waiting = 0
        self.stuck = 0
        self.limit = most
        self._most = most
        self._answered = 0
        self._least_waiting = 0
        self._since = 0.0

    @property
    def full(self) -> bool:
        """True while one more would wait in vain."""
        return self.crowded or self._moving >= self.limit

    @property
    def crowded(self) -> bool:
        """True while no more are held here, wherever they belong."""
        return self.waiting >= self._most

    @property
    def _moving(self) -> int:
        return self.waiting - min(self.stuck, limits.WAITING_AT_LEAST)

    def enter(self) -> None:
        """One more waits."""
        self.waiting += 1

    def leave(self, *, answered: bool, stuck: bool = False) -> None:
        """One waits no more."""
        self.waiting -= 1
        self.stuck -= stuck
        self._answered += answered
        self._least_waiting = min(self._least_waiting, self._moving)

    def learn(self, now: float) -> None:
        """Look back at the time since the last look (s). Only one without a pause shows what can be done.

        It is no pause where something is stuck and nothing is answered.
        """
        if self._least_waiting == 0 and (self._answered or not self.stuck):
            self.limit = self._most
        else:
            in_time = int(self._answered / (now - self._since) * limits.WAIT_SECONDS)
            self.limit = min(max(in_time, limits.WAITING_AT_LEAST), self._most)
        self._answered, self._least_waiting, self._since = 0, self._moving, now
