--- fcgi.tasks -- what can be said in Lua of tasks: `fcgi.timeout`, `fcgi.every`
--- and, from fcgi.channel, `fcgi.channel`.
-- SPDX-License-Identifier: MIT
local channel = require "fcgi.channel"

--- Level 3: the error names the line of the script.
local function check_seconds(seconds, name, is_sound, wanted)
  if type(seconds) ~= "number" then
    error(("bad argument #1 to '%s' (number expected, got %s)"):format(name,
      type(seconds)), 3)
  elseif not is_sound(seconds) then
    error(("bad argument #1 to '%s' (%s seconds expected, got %s)"):format(
      name, wanted, seconds), 3)
  end
end

local function is_limit(seconds)
  return seconds >= 0 -- NaN is not
end

local function is_interval(seconds)
  return seconds > 0 and seconds < math.huge
end

local function check_function(f, name)
  local meta = getmetatable(f)
  if type(f) ~= "function" and not (type(meta) == "table" and meta.__call) then
    error(("bad argument #2 to '%s' (function expected, got %s)"):format(name,
      type(f)), 3)
  end
end

---@param fcgi table the module
---@param private table has_ended, outcome, guard, waiter: see lua_task.c
return function(fcgi, private)
  local spawn, sleep, now = fcgi.spawn, fcgi.sleep, fcgi.now
  local has_ended, outcome = private.has_ended, private.outcome
  local guard = private.guard

  --- A task of its own, so that f is cancelled as tasks are, and has ended in
  --- any case when this returns or raises.
  function fcgi.timeout(seconds, f, ...)
    check_seconds(seconds, "timeout", is_limit, "0 or more")
    check_function(f, "timeout")
    local task <close> = spawn(f, ...)
    if not has_ended(task, seconds) then
      task:cancel("timeout")
      has_ended(task)
    end
    return outcome(task)
  end

  --- A round that takes longer than the time between two drops those that it
  --- overlaps.
  function fcgi.every(seconds, f, ...)
    check_seconds(seconds, "every", is_interval, "more than 0")
    check_function(f, "every")
    return spawn(function(...)
      local next_at = now()
      while true do
        next_at = next_at + seconds
        local late = now() - next_at
        if late > 0 then
          next_at = next_at + late - late % seconds + seconds
        end
        sleep(math.max(next_at - now(), 0))
        guard(f, ...)
      end
    end, ...)
  end

  fcgi.channel = channel(private.waiter)
end
