--- fcgi.channel -- values from task to task, in order, each to one of them.
---
--- Who waits stands in a queue as a to-be-closed entry: however its wait ends,
--- by a hand-over, a timeout, a cancellation or by force, it leaves the queue,
--- and a value that it was handed but did not take goes back.
-- SPDX-License-Identifier: MIT

--- A first-in first-out queue from which anything can be taken out: numbered
--- slots, those between first and last may be empty.
local Queue = {}
Queue.__index = Queue

local function new_queue()
  return setmetatable({ first = 1, last = 0, count = 0 }, Queue)
end

function Queue:push(item)
  self.last = self.last + 1
  self.count = self.count + 1
  self[self.last] = item
  return self.last
end

function Queue:push_front(item)
  self.first = self.first - 1
  self.count = self.count + 1
  self[self.first] = item
end

function Queue:remove(slot)
  if self[slot] == nil then
    return
  end
  self[slot] = nil
  self.count = self.count - 1
  while self.first <= self.last and self[self.first] == nil do
    self.first = self.first + 1
  end
end

--- nil when it is empty.
function Queue:pop()
  local item = self[self.first]
  if item ~= nil then
    self:remove(self.first)
  end
  return item
end

--- The first entry whose wait this ends.  One whose wait is over, by a timeout
--- or a cancellation that its task has yet to notice, is passed over: what it
--- says of its value must stay true.
local function wake_first(queue)
  local entry = queue:pop()
  while entry and not entry.waiter:wake() do
    entry = queue:pop()
  end
  return entry
end

--- Takes the value of the first putter, if there is one.
local function take(self)
  local putter = wake_first(self.putters)
  if not putter then
    return nil
  end
  local value = putter.value
  putter.value = nil
  return value
end

local Channel = { __name = "channel", __metatable = false }
local methods = {}
Channel.__index = methods

--- Level 3: these name the line of the script.
local function check_self(self, method)
  if type(self) ~= "table" or not rawequal(debug.getmetatable(self), Channel)
  then
    error(("bad self (write channel:%s, with a colon)"):format(method), 3)
  end
end

local function check_seconds(seconds, position, method)
  if seconds ~= nil and type(seconds) ~= "number" then
    error(("bad argument #%d to '%s' (number expected, got %s)"):format(
      position, method, type(seconds)), 3)
  elseif seconds and (seconds < 0 or seconds ~= seconds) then
    error(("bad argument #%d to '%s' (not a number of seconds)"):format(
      position, method), 3)
  end
end

--- Gives a value to the first getter, or says that there is none.
local function hand_over(self, value)
  local getter = wake_first(self.getters)
  if getter then
    getter.value = value
  end
  return getter ~= nil
end

--- A value comes back that was handed to a task which then was closed.
local function give_back(self, value)
  if not hand_over(self, value) then
    self.values:push_front(value)
  end
end

--- A getter gets a value when one is handed to it; a putter loses its own when
--- somebody takes it.
local Entry = {}

function Entry:__close()
  self.queue:remove(self.slot)
  if self.is_getter and self.value ~= nil then
    give_back(self.channel, self.value)
  end
end

local function wait_in(self, queue, is_getter, value, seconds)
  local entry <close> = setmetatable({
    channel = self, queue = queue, is_getter = is_getter, value = value,
    waiter = self.new_waiter(),
  }, Entry)
  entry.slot = queue:push(entry)
  entry.waiter:wait(seconds)
  value, entry.value = entry.value, nil
  return value
end

--- Waits until there is room for the value, or a getter without room.
---@return true? ok
---@return string? err "closed" or "timeout": the value was not taken
function methods:put(value, seconds)
  check_self(self, "put")
  if value == nil then
    error("bad argument #1 to 'put' (nil is what an empty channel gives)", 2)
  end
  check_seconds(seconds, 2, "put")
  if self.is_closed then
    return nil, "closed"
  elseif hand_over(self, value) then
    return true
  elseif self.values.count < self.capacity then
    self.values:push(value)
    return true
  elseif seconds == 0 then
    return nil, "timeout"
  end
  if wait_in(self, self.putters, false, value, seconds) == nil then
    return true
  end
  return nil, self.is_closed and "closed" or "timeout"
end

---@return any value
---@return string? err "closed", when all that was put has been taken, or
--- "timeout"
function methods:get(seconds)
  check_self(self, "get")
  check_seconds(seconds, 1, "get")
  local value = self.values:pop()
  if value ~= nil then
    if self.values.count < self.capacity then
      local put = take(self)
      if put ~= nil then
        self.values:push(put) -- there is room now
      end
    end
    return value
  end
  value = take(self)
  if value ~= nil then
    return value
  elseif self.is_closed then
    return nil, "closed"
  elseif seconds == 0 then
    return nil, "timeout"
  end
  value = wait_in(self, self.getters, true, nil, seconds)
  if value ~= nil then
    return value
  end
  return nil, self.is_closed and "closed" or "timeout"
end

--- Puts fail from now on, those that wait as well; what is there can be taken.
function methods:close()
  check_self(self, "close")
  if self.is_closed then
    return
  end
  self.is_closed = true
  for _, queue in ipairs { self.getters, self.putters } do
    for slot = queue.first, queue.last do
      if queue[slot] then
        queue[slot].waiter:wake()
      end
    end
  end
end

Channel.__close = methods.close

---@param new_waiter fun(): table with wait([seconds]) and wake(), which says
--- whether somebody waited
---@return fun(capacity?: integer): table
return function(new_waiter)
  return function(capacity)
    capacity = capacity or 0
    if math.type(capacity) ~= "integer" or capacity < 0 then
      error("bad argument #1 to 'channel' (not a number of values)", 2)
    end
    return setmetatable({
      capacity = capacity,
      values = new_queue(),  -- that were put and not taken
      getters = new_queue(), -- entries that wait for a value
      putters = new_queue(), -- entries that wait for room
      is_closed = false,
      new_waiter = new_waiter,
    }, Channel)
  end
end
