"""Every limit of the queue in one table, each with its unit and its reason (DESIGN 3 and 4)."""

QUEUE_NAME = "balance"
ACTOR_NAME = "execute"

# Ownership of partitions.
LEASE_MS = 2_000  # callers give up after 2 s: a dead owner must be replaced within that
RENEW_SECONDS = 0.25  # also tells who is alive, and so how soon a dead owner's share is taken
TAKEOVER_SECONDS = 0.25
UNIT_SECONDS = 10.0  # a unit that stands still for so long is stuck: its process ends, its leases lapse
IDLE_SECONDS = 10.0  # a worker that could not look at its queues for so long hands them over

# Units of work.
UNIT_ACCOUNTS = 256
UNIT_COMMANDS = 512  # a hot account touches one account with any number of commands
MESSAGE_COMMANDS = 128
BULK_COMMANDS = MESSAGE_COMMANDS  # of a unit without callers: those who come meanwhile wait for no more
MESSAGES_PER_READ = 2  # per stream: what a read brings and the unit cannot take stays in hand
ALONE_COST = 4  # a command that runs alone has a mark and a commit of its own
CAREFUL_COMMANDS = UNIT_COMMANDS + MESSAGE_COMMANDS  # what a dead owner can have had in hand of one queue
CAREFUL_BULK_COMMANDS = max(BULK_COMMANDS, MESSAGE_COMMANDS)  # the same of one in the bulk lane

# Waiting.
READ_BLOCK_MS = 200  # how long a consumer looks at its queues before it looks at its leases again
BULK_LOOK_SECONDS = 0.02  # while callers come, the bulk lane is read no more often: half of the streams
RESULTS_BLOCK_MS = 1_000
BACKOFF_FIRST_SECONDS = 0.02
BACKOFF_LAST_SECONDS = 0.5
UNFIT_SECONDS = 2.0  # how long to stay away from a store that is not fit for money

# Front ends.
MESSAGES_ON_THEIR_WAY = 4  # per partition: one lost answer cannot close a partition
SLOT_SECONDS = 1.0  # an unanswered message frees its slot after this
LOST_SECONDS = 30.0  # an unanswered message frees its place on the way, too, while its callers still wait
WATCH_SECONDS = 1.0
CANCEL_SECONDS = 0.5
WAIT_SECONDS = 0.5  # what would wait longer is refused: callers give up after 2 s, and retry
WAITING_AT_LEAST = 256  # a partition without an owner answers nothing for a while: its callers wait

# The scheduler.
LEAD_MS = LEASE_MS
LEAD_SECONDS = 0.25  # how often the leader renews its lease, and another looks whether it has lapsed
SCHEDULE_SECONDS = 0.05  # how soon a slot is seen, and that a message was worked off
EXPIRY_HOLDS = 50  # of one partition in one message: about 6 ms of its owner, and a caller may wait for three
EXPIRY_LOOKS = 8  # partitions with more than one message's holds that are looked at in one go
