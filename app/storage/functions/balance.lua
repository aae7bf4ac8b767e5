#!lua name=balance_1

--[[ The server side of the store: consistent reads, the one commit, the leases of partitions, the scheduler's lead.

It knows no rule of the domain and does no arithmetic on amounts: it compares, then writes what it was
given. A function has no rollback, so everything that could fail is looked at before the first write.

Keys. {NNN} is a partition, parts are joined by `|`, ids never contain it; built in app/storage/keys.py.

  balance:accounts:{NNN}|ID              hash    the account: balance, reserved, revision, ledger head, ...
  balance:accounts:ids:{NNN}             set     ids of the partition's accounts
  balance:ledger:{NNN}|ID|SEGMENT        list    ledger elements `CHECKSUM JSON`, 1,024 a segment
  balance:ledger:global:{NNN}            stream  the event feed: what changed (`TYPE: ACCOUNT|SEQ`), what became of
                                                 holds (`RESERVATION_STATUS: ACCOUNT|ID`) and pots (`TABLE|HAND`);
                                                 trimmed beyond a length, never ahead of a reader
  balance:ledger:readers:{NNN}           hash    readers of that feed: the last event read, and when (`ID MS`)
  balance:transactions:{NNN}|ID          string  where an applied change stands; the idempotency record
  balance:transactions:by-account:{NNN}|ID|TYPE       list    ledger places of that type
  balance:transactions:idempotency:{NNN}|OP|ID|HASH   string  an outcome that sticks to its key; expires
  balance:transactions:answers:{NNN}|ID  string  what a command on a pot answered; its idempotency record
  balance:reservations:{NNN}|ID          string  reservation; kept 30 days when it ends without a buy-in
  balance:reservations:by-account:{NNN}|ID            hash    held reservations: `amount|expiry`
  balance:reservations:expiry:{NNN}      zset    held reservations by expiry time
  balance:pots:{NNN}|TABLE|HAND          hash    version, record; kept 30 days beyond the pot's end
  balance:pots:active:{NNN}              zset    `TABLE|HAND` of active pots by their start
  balance:tables:{NNN}|TABLE             hash    `a|ID`: chips that account has in play, unless 0;
                                                 `p|HAND`: chips in that active pot
  balance:tables:ids:{NNN}               set     tables of the partition that have chips, or had until an audit looked
  balance:totals:{NNN}                   hash    sums per currency and counts of the partition
  balance:queue:{NNN}|LANE               stream  Dramatiq messages
  balance:dead:{NNN}                     hash    parked commands, until a replay or ops close them
  balance:dead:closed:{NNN}|ID           string  a dead letter that was closed; kept 90 days
  balance:commands:{NNN}|ID              hash    a command nobody waits for: intent, then done (expires) or parked
  balance:batches:{NNN}|ID               hash    settled lines of a batch: number to `a` applied, `r` replayed,
                                                 `f`, `p` and why: refused, parked
  balance:batches:manifests:{NNN}|ID     hash    a batch: content (hash), items, total, sent|NNN, cancelledAt, ...
  balance:results:FRONT_END              stream  answers on their way to one front end
  balance:partition:{NNN}                hash    owner, epoch, until, clean, last_time, trying|LANE
  balance:workers                        zset    worker ids by the time until which they are alive (ms)
  balance:front-ends                     zset    front-end ids by the time until which they are alive (ms)
  balance:scheduler                      hash    leader, epoch, since, until, slot|JOB, missed|JOB, sent|JOB|NNN
  balance:audit                          hash    what the audits of the whole store have seen: revision, state,
                                                 checked, lastFull, driftChips, oldestMessage, deadLetters,
                                                 chipsAtStake, findings (open ones)
  balance:audit:{NNN}                    hash    the same of one partition: revision, state, checked, lastFull,
                                                 entries, findings, chainBreaks, stuckPots, tableDeficits,
                                                 deficits (the largest, by table)
  balance:audit:findings[:{NNN}]         hash    findings by the place; marked when they are gone, never deleted
  balance:audit:queue                    stream  tasks for the auditors (consumer group `auditors`)
  balance:ops                            hash    head, seq of the ops log; paused: why, while callers are refused
  balance:ops:log                        list    what ops did, `CHECKSUM JSON` each, one chain, append-only
  balance:stops                          hash    `WORKER|KIND`: a worker that takes no command of that kind, and why
  balance:meta                           hash    layout, partitions, store id, commit counter; missed: the commits
                                                 that a process had seen which has found fewer here, and
                                                 missingAllowed: of these, how many ops carry on without
]]

-- The commands a commit may use, and the type their key must have (or be absent).
-- HCOUNT is an HINCRBY that leaves no field behind at 0.
local TYPE_OF = {
  HSET = 'hash', HDEL = 'hash', HINCRBY = 'hash', HCOUNT = 'hash',
  SET = 'string', RPUSH = 'list', SADD = 'set',
  SREM = 'set', ZADD = 'zset', ZREM = 'zset',
  XADD = 'stream', XDEL = 'stream', XTRIM = 'stream',
  EXPIRE = 'any',
}

-- Arguments of one write: Lua can hand on some 8,000 values, and would fail in the middle of a commit.
local MOST_ARGUMENTS = 4096

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- read_1(KEYS, ops): every op {command, key index, arguments...} at one moment.
-- Returns {TIME, {replies}}.
local function read(keys, args)
  local replies = {}
  for i, op in ipairs(cmsgpack.unpack(args[1])) do
    replies[i] = redis.call(op[1], keys[op[2]], unpack(op, 3))
  end
  return {redis.call('TIME'), replies}
end

-- A check is {'field', key, field, expected} ('' means: must be absent), {'count', key, field, expected}
-- (absent counts as 0), or {'absent', key}. What it shows of the key's type is remembered in `types`:
-- reading a field of a key that is no hash ends the call, before anything was written.
local function holds(keys, check, types)
  local key = keys[check[2]]
  if check[1] == 'absent' then
    return redis.call('EXISTS', key) == 0
  end
  types[key] = 'hash'
  local absent = check[1] == 'count' and '0' or ''
  return (redis.call('HGET', key, check[3]) or absent) == check[4]
end

-- Whether the server takes this as a whole number (it refuses 007 and -0) of at most that many digits.
local function is_whole(value, digits)
  local text = type(value) == 'number' and ('%.0f'):format(value) or value
  return text == '0' or (text:match('^%-?[1-9]%d*$') and #text:gsub('%-', '') <= digits)
end

-- Why this write could fail, or nil. `types` holds the type of each key that is known by now.
local function fault_of(keys, write, types)
  local command, key = write[1], keys[write[2]]
  local wanted = TYPE_OF[command]
  if not wanted or not key then
    return 'write ' .. tostring(command)
  end
  if #write - 2 > MOST_ARGUMENTS then
    return 'arguments for ' .. key .. ': ' .. #write - 2
  end
  if command == 'HINCRBY' or command == 'HCOUNT' then
    local counter = redis.call('HGET', key, write[3]) or '0'
    if not (is_whole(counter, 18) and is_whole(write[4], 18)) then
      return 'counter ' .. key .. ' ' .. write[3]
    end
    types[key] = types[key] or wanted
  end
  if wanted ~= 'any' then
    local found = types[key] or redis.call('TYPE', key)['ok']
    if found ~= 'none' and found ~= wanted then
      return 'type of ' .. key .. ' is ' .. found
    end
    types[key] = wanted
  end
  if command == 'SET' and write[4] and not (write[4] == 'PX' and is_whole(write[5], 15) and tonumber(write[5]) > 0) then
    return 'expiry of ' .. key
  end
  if command == 'XTRIM' and not (write[3] == 'MINID' and tostring(write[4]):match('^%d+%-%d+$')) then
    return 'trim of ' .. key
  end
  return nil
end

-- Whether the user who calls may make this write: without that right it would fail in the middle of a commit.
local function may_write(command, key)
  if command == 'HCOUNT' then
    return redis.acl_check_cmd('HINCRBY', key) and redis.acl_check_cmd('HDEL', key)
  end
  return redis.acl_check_cmd(command, key)
end

local function apply(key, write)
  if write[1] ~= 'HCOUNT' then
    return redis.call(write[1], key, unpack(write, 3))
  end
  if redis.call('HINCRBY', key, write[3], write[4]) == 0 then
    redis.call('HDEL', key, write[3])
  end
end

-- commit_1(KEYS, checks, writes): all of it or nothing.
-- Returns the new commit counter (the last write), or the list of the indexes of all failed checks.
local function commit(keys, args)
  local failed, types = {}, {}
  for i, check in ipairs(cmsgpack.unpack(args[1])) do
    if not holds(keys, check, types) then
      failed[#failed + 1] = i
    end
  end
  if #failed > 0 then
    return failed
  end
  local writes = cmsgpack.unpack(args[2])
  for _, write in ipairs(writes) do
    local fault = fault_of(keys, write, types)
    if fault then
      return redis.error_reply('REFUSED ' .. fault)
    end
    if not may_write(write[1], keys[write[2]]) then
      return redis.error_reply('NOPERM this user may not ' .. write[1] .. ' ' .. keys[write[2]])
    end
  end
  local last
  for _, write in ipairs(writes) do
    last = apply(keys[write[2]], write)
  end
  return last
end

-- A lease that ends later than one taken now is of before the clock was set back. It is cut to what a lease may
-- be: who lives renews it long before, and who is dead is gone as soon as ever.
local function too_late(till, now, lease)
  return till > now + lease
end

-- acquire_1({workers, partition...}, worker, lease ms, most): take free or lapsed partitions, at most that many.
-- Returns {now, {{key index, epoch, clean, last_time}...}}; clean is 0 after an owner that did not hand over.
local function acquire(keys, args)
  local worker, lease, most, now = args[1], tonumber(args[2]), tonumber(args[3]), now_ms()
  redis.call('ZADD', keys[1], now + lease, worker)
  local taken = {}
  for i = 2, #keys do
    if #taken >= most then
      break
    end
    local had = redis.call('HMGET', keys[i], 'owner', 'epoch', 'until', 'clean', 'last_time')
    local owner, till = had[1] or '', tonumber(had[3] or '0')
    if owner == '' or owner == worker or till <= now then
      local epoch = tonumber(had[2] or '0') + 1
      redis.call('HSET', keys[i], 'owner', worker, 'epoch', epoch, 'until', now + lease, 'clean', 0)
      taken[#taken + 1] = {i, epoch, had[4] == '0' and 0 or 1, tonumber(had[5] or '0')}
    elseif too_late(till, now, lease) then
      redis.call('HSET', keys[i], 'until', now + lease)
    end
  end
  return {now, taken}
end

-- renew_1({workers, partition...}, worker, lease ms, epoch...): keep what is still ours, and stay alive.
-- Returns {{indexes of partitions lost}, {ids of the workers alive}}.
local function renew(keys, args)
  local worker, lease, now, lost = args[1], tonumber(args[2]), now_ms(), {}
  redis.call('ZREMRANGEBYSCORE', keys[1], '-inf', now)
  for _, other in ipairs(redis.call('ZRANGE', keys[1], '(' .. now + lease, '+inf', 'BYSCORE')) do
    redis.call('ZADD', keys[1], now + lease, other)
  end
  redis.call('ZADD', keys[1], now + lease, worker)
  for i = 2, #keys do
    local had = redis.call('HMGET', keys[i], 'owner', 'epoch')
    if had[1] == worker and had[2] == args[i + 1] then
      redis.call('HSET', keys[i], 'until', now + lease)
    else
      lost[#lost + 1] = i
    end
  end
  return {lost, redis.call('ZRANGE', keys[1], 0, -1)}
end

-- release_1({workers, partition...}, worker, leave, epoch...): hand over cleanly; leave '1' signs off the worker.
local function release(keys, args)
  if args[2] == '1' then
    redis.call('ZREM', keys[1], args[1])
  end
  for i = 2, #keys do
    local had = redis.call('HMGET', keys[i], 'owner', 'epoch')
    if had[1] == args[1] and had[2] == args[i + 1] then
      redis.call('HSET', keys[i], 'owner', '', 'until', 0, 'clean', 1)
    end
  end
  return #keys - 1
end

-- mark_1({partition}, epoch, lane, place): a command is about to run alone. Places sort as text.
-- Returns how often this place has been marked, 0 when a later one was, -1 when the epoch is lost.
local function mark(keys, args)
  local had = redis.call('HMGET', keys[1], 'epoch', 'trying|' .. args[2])
  if had[1] ~= args[1] then
    return -1
  end
  local place, count = (had[2] or ''):match('^(.*) (%d+)$')
  if place and place > args[3] then
    return 0
  end
  count = place == args[3] and tonumber(count) + 1 or 1
  redis.call('HSET', keys[1], 'trying|' .. args[2], args[3] .. ' ' .. count)
  return count
end

-- lead_1({scheduler}, name, lease ms): take the lead where it is free or has lapsed, or keep it.
-- Returns {now, epoch}; the epoch is 0 while another leads.
local function lead(keys, args)
  local name, lease, now = args[1], tonumber(args[2]), now_ms()
  local had = redis.call('HMGET', keys[1], 'leader', 'epoch', 'until')
  local epoch = tonumber(had[2] or '0')
  if had[1] ~= name then
    local till = tonumber(had[3] or '0')
    if (had[1] or '') ~= '' and till > now then
      if too_late(till, now, lease) then
        redis.call('HSET', keys[1], 'until', now + lease)
      end
      return {now, 0}
    end
    epoch = epoch + 1
    redis.call('HSET', keys[1], 'leader', name, 'epoch', epoch, 'since', now)
  end
  redis.call('HSET', keys[1], 'until', now + lease)
  return {now, epoch}
end

-- resign_1({scheduler}, name): give the lead away, where it is ours.
local function resign(keys, args)
  if redis.call('HGET', keys[1], 'leader') ~= args[1] then
    return 0
  end
  redis.call('HSET', keys[1], 'leader', '', 'until', 0)
  return 1
end

-- dispatch_1({scheduler, stream...}, epoch, job, slot, missed, tasks): what the leader queues for a slot of a job.
-- A task is {key index, name, place, message}. It is left out where the last one of that name had this place or a
-- later one, or still waits in its stream. Places sort as text. A slot is marked, and what was missed before it
-- is counted, once. Returns the indexes of the tasks queued, or -1 when the epoch is lost.
local function dispatch(keys, args)
  if redis.call('HGET', keys[1], 'epoch') ~= args[1] then
    return -1
  end
  local queued, tasks = {}, cmsgpack.unpack(args[5])
  for i, task in ipairs(tasks) do
    local last = redis.call('HGET', keys[1], 'sent|' .. task[2]) or ''
    local place, entry = last:match('^(.*) (.*)$')
    local waits = #redis.call('XRANGE', keys[task[1]], entry or '0-0', entry or '0-0') > 0
    if not waits and (place or '') < task[3] then
      queued[#queued + 1] = i
    end
  end
  local slot, missed = 'slot|' .. args[2], 'missed|' .. args[2]
  if tonumber(redis.call('HGET', keys[1], slot) or '0') < tonumber(args[3]) then
    redis.call('HINCRBY', keys[1], missed, args[4])
    redis.call('HSET', keys[1], slot, args[3])
  end
  for _, i in ipairs(queued) do
    local task = tasks[i]
    local entry = redis.call('XADD', keys[task[1]], '*', 'm', task[4])
    redis.call('HSET', keys[1], 'sent|' .. task[2], task[3] .. ' ' .. entry)
  end
  return queued
end

redis.register_function{function_name = 'read_1', callback = read, flags = {'no-writes'}}
redis.register_function{function_name = 'commit_1', callback = commit}
redis.register_function{function_name = 'acquire_1', callback = acquire, flags = {'allow-oom'}}
redis.register_function{function_name = 'renew_1', callback = renew, flags = {'allow-oom'}}
redis.register_function{function_name = 'release_1', callback = release, flags = {'allow-oom'}}
redis.register_function{function_name = 'mark_1', callback = mark, flags = {'allow-oom'}}
redis.register_function{function_name = 'lead_1', callback = lead, flags = {'allow-oom'}}
redis.register_function{function_name = 'resign_1', callback = resign, flags = {'allow-oom'}}
redis.register_function{function_name = 'dispatch_1', callback = dispatch}
