"""The one tree of faults. A refusal is never here: it is an Answer (see `app.domain.outcomes`)."""


class BalanceFault(Exception):
    """Something failed that is no answer of the rules."""


class StoreUnavailable(BalanceFault):
    """The store cannot be reached, or takes no writes now. Whether the last call was applied is unknown."""


class StoreRefused(BalanceFault):
    """The store refused one call as wrong (type, range); it wrote nothing. The culprit is in that call."""


class StoreUnfit(BalanceFault):
    """The store must not be worked with: its settings, its version, or its age are not what money needs."""


class Unavailable(BalanceFault):
    """The command was certainly not queued: the store or the queue cannot be reached."""


class Paused(Unavailable):
    """The command was certainly not queued: ops have paused the service."""


class KeysAway(Unavailable):
    """A token names a key that only the key server knows, and the key server is away."""


class Overloaded(BalanceFault):
    """The command was certainly not queued: too much work is waiting."""


class Interrupted(BalanceFault):
    """A batch was queued in part, or perhaps not at all. Submitted again under its id it goes on."""


class DeadlinePassed(BalanceFault):
    """No answer in time. The outcome is unknown: the same key gets the one outcome."""
