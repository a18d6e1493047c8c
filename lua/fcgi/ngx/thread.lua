--- fcgi.ngx.thread -- `ngx.thread`, `ngx.timer` and semaphores: the gateway's
--- tasks under the names that nginx has for them.
-- SPDX-License-Identifier: MIT
local misuse = require "fcgi.misuse"

local function check_function(f, position, name)
  if type(f) ~= "function" then
    misuse.bad_type(position, name, "function", f)
  end
end

--- Seconds; is_sound says which.
local function check_seconds(seconds, position, name, least)
  if type(seconds) ~= "number" then
    misuse.bad_type(position, name, "number", seconds)
  elseif not (seconds >= 0 and seconds < math.huge) or seconds == least then
    misuse.bad_argument(position, name, "not a number of seconds")
  end
end

-- --- threads ----------------------------------------------------------------

local Thread = { __name = "ngx.thread" }

--- The to-be-closed variable of a thread's function.
local Ending = {}

function Ending:__close()
  local thread = self.thread
  thread.is_done = true
  for waiter in pairs(thread.waiters) do
    waiter:wake()
  end
end

--- Keeps in mind that a thread's function returned by itself.
local function returning(thread, ...)
  thread.has_returned = true
  return ...
end

---@param fcgi table the module
---@param private table see lua_task.c
---@return table thread
local function open_threads(fcgi, private)
  local has_ended, outcome = private.has_ended, private.outcome
  local thread = {}

  local function check_thread(value, position, name)
    if getmetatable(value) ~= Thread then
      misuse.bad_type(position, name, "thread", value)
    end
  end

  function thread.spawn(f, ...)
    check_function(f, 1, "spawn")
    local self = setmetatable({ waiters = {} }, Thread)
    self.task = fcgi.spawn(function(...)
      local _ <close> = setmetatable({ thread = self }, Ending)
      return returning(self, f(...))
    end, ...)
    return self
  end

  --- What wait returns of a thread that is over.
  local function result_of(self)
    has_ended(self.task)
    if self.has_returned then
      return true, self.task:join()
    end
    local is_cancelled, err, reason = pcall(outcome, self.task)
    if is_cancelled then
      return false, reason
    end
    return false, err
  end

  local function first_done(threads)
    for _, self in ipairs(threads) do
      if self.is_done or has_ended(self.task, 0) then
        return self
      end
    end
  end

  --- Waits for the first of them that ends.
  ---@return boolean ok
  ---@return any ... what it returned, or its error
  function thread.wait(...)
    local threads = { ... }
    for i = 1, math.max(1, select("#", ...)) do
      check_thread(threads[i], i, "wait")
    end
    local waiter = private.waiter()
    local _ <close> = setmetatable({}, {
      __close = function()
        for _, self in ipairs(threads) do
          self.waiters[waiter] = nil
        end
      end,
    })
    local done = first_done(threads)
    while not done do
      for _, self in ipairs(threads) do
        self.waiters[waiter] = true
      end
      waiter:wait()
      done = first_done(threads)
    end
    return result_of(done)
  end

  --- The wait that it is in raises an error.
  function thread.kill(self)
    check_thread(self, 1, "kill")
    if self.is_done or not self.task:cancel("killed") then
      return nil, "already waited or killed"
    end
    self.is_done = true
    for waiter in pairs(self.waiters) do
      waiter:wake()
    end
    return 1
  end

  return thread
end

-- --- timers -----------------------------------------------------------------

---@param fcgi table the module
---@param private table see lua_task.c
---@return table timer
local function open_timers(fcgi, private)
  local timer = {}
  local pending, running = 0, 0

  --- Counts while a block runs.
  local is_pending = setmetatable({}, {
    __close = function() pending = pending - 1 end,
  })
  local is_running = setmetatable({}, {
    __close = function() running = running - 1 end,
  })

  --- Returns whether the worker ends before the time has come.
  local function sleep(seconds)
    pending = pending + 1
    local _ <close> = is_pending
    local ok, err = pcall(fcgi.sleep, seconds)
    if not ok and not fcgi.cancelled(err) then
      error(err, 0)
    end
    return not ok
  end

  local function call(premature, f, ...)
    running = running + 1
    local _ <close> = is_running
    private.guard(f, premature, ...)
  end

  --- Calls f(premature, ...) later, once.
  function timer.at(seconds, f, ...)
    check_seconds(seconds, 1, "at")
    check_function(f, 2, "at")
    private.spawn_of_worker(function(...)
      call(sleep(seconds), f, ...)
    end, ...)
    return 1
  end

  --- Again and again, whether or not the call before has ended.
  function timer.every(seconds, f, ...)
    check_seconds(seconds, 1, "every", 0)
    check_function(f, 2, "every")
    private.spawn_of_worker(function(...)
      local premature
      repeat
        premature = sleep(seconds)
        if premature then
          call(premature, f, ...)
        else
          private.spawn_of_worker(call, premature, f, ...)
        end
      until premature
    end, ...)
    return 1
  end

  function timer.pending_count()
    return pending
  end

  function timer.running_count()
    return running
  end

  return timer
end

-- --- semaphores -------------------------------------------------------------

---@param fcgi table the module
---@return table semaphore the module ngx.semaphore
local function open_semaphores(fcgi)
  local Semaphore = { __name = "ngx.semaphore" }
  Semaphore.__index = Semaphore

  --- How many may wait() without waiting; less than 0: how many wait.
  function Semaphore:count()
    return self.posted - self.waiting
  end

  function Semaphore:post(n)
    n = n or 1
    if math.type(n) ~= "integer" or n < 1 then
      misuse.bad_argument(1, "post", "a number of resources expected")
    end
    for _ = 1, n do
      self.posted = self.posted + 1
      self.channel:put(true)
    end
    return true
  end

  ---@param seconds? number 0 by default
  ---@return true? ok
  ---@return "timeout"? err
  function Semaphore:wait(seconds)
    check_seconds(seconds or 0, 1, "wait")
    self.waiting = self.waiting + 1
    local _ <close> = self.is_waiting
    local ok, err = self.channel:get(seconds or 0)
    if ok then
      self.posted = self.posted - 1
    end
    return ok, err
  end

  local semaphore = {}

  function semaphore.new(n)
    n = n or 0
    if math.type(n) ~= "integer" or n < 0 then
      misuse.bad_argument(1, "new", "a number of resources expected")
    end
    local self = setmetatable({
      channel = fcgi.channel(math.maxinteger), posted = 0, waiting = 0,
    }, Semaphore)
    self.is_waiting = setmetatable({}, {
      __close = function() self.waiting = self.waiting - 1 end,
    })
    if n > 0 then
      self:post(n)
    end
    return self
  end

  return semaphore
end

return {
  threads = open_threads, timers = open_timers, semaphores = open_semaphores,
}
