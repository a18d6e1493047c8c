--- fcgi.timeout and fcgi.every over primitives that the test drives.
local install = require "fcgi.tasks"

--- The error that ends a loop which nothing else ends.
local STOP = setmetatable({}, { __tostring = function() return "stop" end })

--- A module whose clock goes on only when somebody sleeps or works.
---@return table fcgi, table world
local function new_fcgi()
  local world = { now = 0, events = {}, logged = {} }
  local fcgi, private = {}, {}
  local Task = { __index = {} }

  local function note(...)
    world.events[#world.events + 1] = table.concat({ ... }, " ")
  end

  --- A task runs in a coroutine, as far as it does not sleep.
  function fcgi.spawn(f, ...)
    local task = setmetatable({ args = table.pack(...) }, Task)
    task.co = coroutine.create(function(...) return f(...) end)
    note "spawn"
    return task
  end

  --- Runs a task to its end or to that time.
  local function run(task, until_time)
    while not task.result do
      if task.wakes_at and task.wakes_at > until_time then
        world.now = until_time
        return
      end
      world.now = math.max(world.now, task.wakes_at or world.now)
      local got = table.pack(coroutine.resume(task.co, table.unpack(
        task.args, 1, task.args.n)))
      task.args = table.pack(task.reason and "cancel")
      if coroutine.status(task.co) == "dead" then
        coroutine.close(task.co)
        task.result = got
      else
        task.wakes_at = got[2]
      end
    end
  end

  function fcgi.sleep(seconds)
    if coroutine.yield(world.now + seconds) == "cancel" then
      local task = world.current
      task.raised = true
      error("cancelled: " .. task.reason, 0)
    end
  end

  function fcgi.now()
    return world.now
  end

  function Task.__index.cancel(task, reason)
    note("cancel", reason)
    task.reason, task.wakes_at = reason, nil
    task.args = task.args and table.pack "cancel"
    world.current = task
  end

  function Task.__close(task)
    note(task.result and "closed ended" or "closed running")
  end

  function private.has_ended(task, seconds)
    run(task, world.now + (seconds or math.huge))
    return task.result ~= nil
  end

  function private.outcome(task)
    local result = task.result
    if result[1] then
      return table.unpack(result, 2, result.n)
    elseif task.raised and result[2] == "cancelled: " .. task.reason then
      return nil, task.reason
    end
    error(result[2], 0)
  end

  --- As the real one: an error is logged, a cancellation passes.
  function private.guard(f, ...)
    local ok, err = pcall(f, ...)
    if not ok and (err == STOP or tostring(err):find "^cancelled") then
      error(err, 0)
    elseif not ok then
      world.logged[#world.logged + 1] = tostring(err)
    end
  end

  function private.waiter()
    return { wait = function() note "wait" end, wake = function() end }
  end

  install(fcgi, private)
  return fcgi, world
end

local function blames(expected, f)
  local line = debug.getinfo(f, "S").linedefined
  local ok, err = pcall(f)
  assert.is_false(ok)
  assert.are.equal(("tasks_spec.lua:%d: %s"):format(line, expected),
    (tostring(err):gsub("^.*/", "")))
end

describe("timeout", function()
  local fcgi, world

  before_each(function()
    fcgi, world = new_fcgi()
  end)

  it("gives the results, nil and none of them too", function()
    assert.are.same({ n = 4, 1, nil, 3, nil },
      table.pack(fcgi.timeout(5, function(...) return ... end, 1, nil, 3, nil)))
    assert.are.same({ n = 0 }, table.pack(fcgi.timeout(5, function() end)))
    assert.are.same({ "spawn", "closed ended", "spawn", "closed ended" },
      world.events)
  end)

  it("waits for a function that is in time", function()
    assert.are.equal("done", fcgi.timeout(5, function()
      fcgi.sleep(4)
      return "done"
    end))
    assert.are.equal(4, world.now)
  end)

  it("cancels one that is not, and waits for its end", function()
    local reason
    assert.are.same({ n = 2, nil, "timeout" }, table.pack(
      fcgi.timeout(5, function()
        local ok, err = pcall(fcgi.sleep, 100)
        assert(not ok)
        reason = err
        error(err, 0)
      end)))
    assert.are.equal("cancelled: timeout", reason)
    assert.are.equal(5, world.now)
    assert.are.same({ "spawn", "cancel timeout", "closed ended" },
      world.events)
  end)

  it("gives results that come during the clean-up", function()
    assert.are.same({ "late", 2 }, { fcgi.timeout(5, function()
      pcall(fcgi.sleep, 100)
      return "late", 2
    end) })
  end)

  it("raises the function's error, the same value", function()
    local value = {}
    local ok, err = pcall(fcgi.timeout, 5, error, value)
    assert.is_false(ok)
    assert.are.equal(value, err)
    ok, err = pcall(fcgi.timeout, 5, function()
      pcall(fcgi.sleep, 100)
      error(value)
    end)
    assert.is_false(ok)
    assert.are.equal(value, err)
    assert.are.equal("closed ended", world.events[#world.events])
  end)

  it("takes what can be called", function()
    local callable = setmetatable({}, { __call = function(_, x) return x end })
    assert.are.equal(7, fcgi.timeout(5, callable, 7))
  end)

  it("blames the line of the script", function()
    blames("bad argument #1 to 'timeout' (number expected, got nil)",
      function() fcgi.timeout(nil, print) end)
    blames("bad argument #1 to 'timeout' (number expected, got string)",
      function() fcgi.timeout("1", print) end)
    for _, bad in ipairs { -1, 0 / 0, -math.huge } do
      blames("bad argument #1 to 'timeout' (0 or more seconds expected, got "
        .. bad .. ")",
        function() fcgi.timeout(bad, print) end)
    end
    blames("bad argument #2 to 'timeout' (function expected, got nil)",
      function() fcgi.timeout(1) end)
    blames("bad argument #2 to 'timeout' (function expected, got table)",
      function() fcgi.timeout(1, {}) end)
    assert.are.same({}, world.events)
  end)
end)

describe("every", function()
  local fcgi, world

  --- Begins rounds of a function; at most that many.
  local function drive(seconds, rounds, f, ...)
    local n = 0
    local task = fcgi.every(seconds, function(...)
      n = n + 1
      if n > rounds then
        error(STOP, 0)
      end
      return f(n, ...)
    end, ...)
    for _ = 1, 1000 * rounds do
      local got = table.pack(coroutine.resume(task.co, table.unpack(
        task.args, 1, task.args.n)))
      task.args = {}
      if coroutine.status(task.co) == "dead" then
        assert.are.equal(STOP, got[2])
        return
      end
      -- a timer fires a little late
      world.now = math.max(world.now, got[2]) + (world.lag or 0)
    end
    error "it does not end"
  end

  before_each(function()
    fcgi, world = new_fcgi()
  end)

  it("runs once in each interval, the first time after one", function()
    local times = {}
    drive(2, 4, function()
      times[#times + 1] = world.now
    end)
    assert.are.same({ 2, 4, 6, 8 }, times)
  end)

  it("goes on when the interval is as short as a number can be", function()
    local times = {}
    drive(5e-324, 3, function()
      world.now = world.now + 1
      times[#times + 1] = world.now
    end)
    assert.are.same({ 1, 2, 3 }, times)
  end)

  it("keeps to its times while rounds take some and timers are late",
    function()
      local times = {}
      world.lag = 0.125
      drive(2, 5, function()
        times[#times + 1] = world.now
        world.now = world.now + 1
      end)
      assert.are.same({ 2.125, 4.125, 6.125, 8.125, 10.125 }, times)
    end)

  it("drops the rounds that a long one has missed", function()
    local times = {}
    drive(2, 4, function(n)
      times[#times + 1] = world.now
      if n == 1 then
        world.now = world.now + 5 -- from 2 to 7: over 4 and 6
      end
    end)
    assert.are.same({ 2, 8, 10, 12 }, times)
  end)

  it("runs no round twice, however seconds are rounded", function()
    for _, seconds in ipairs { 0.1, 1 / 3, 0.7, 1e-3, 86400.1 } do
      for _, start in ipairs { 0, 1e5 + 0.3, 1e9 + 0.7 } do
        for _, late in ipairs { 0, 1, 2, 1e3 } do
          fcgi, world = new_fcgi()
          world.now = start
          local last
          drive(seconds, 20, function(n)
            if last then -- a whole interval lies between two rounds
              assert.is_true(world.now - last >= seconds * 0.99,
                ("%g %g %g"):format(seconds, start, late))
            end
            last = world.now
            if n % 3 == 0 then -- until a later round's time, as numbers go
              world.now = world.now + late * seconds
            end
          end)
        end
      end
    end
  end)

  it("passes the arguments each time", function()
    local seen = {}
    drive(1, 2, function(n, ...)
      seen[n] = table.pack(...)
    end, "a", nil, 3, nil)
    for n = 1, 2 do
      assert.are.same({ n = 4, "a", nil, 3, nil }, seen[n])
    end
  end)

  it("logs an error and goes on", function()
    local rounds = 0
    drive(1, 3, function(n)
      rounds = n
      if n == 1 then
        error("of round 1", 0)
      end
    end)
    assert.are.equal(3, rounds)
    assert.are.same({ "of round 1" }, world.logged)
  end)

  it("ends by a cancellation between two rounds and in one", function()
    for wait = 1, 2 do
      fcgi, world = new_fcgi()
      local task = fcgi.every(1, function()
        fcgi.sleep(100)
      end)
      coroutine.resume(task.co)
      if wait == 2 then
        world.now = 1
        coroutine.resume(task.co)
      end
      task:cancel "enough"
      task.reason = "enough"
      local ok, err = coroutine.resume(task.co, "cancel")
      assert.is_false(ok)
      assert.are.equal("cancelled: enough", err)
      assert.is_true(task.raised)
    end
  end)

  it("blames the line of the script", function()
    for _, bad in ipairs { 0, -1, 0 / 0, math.huge } do
      blames("bad argument #1 to 'every' (more than 0 seconds expected, got "
        .. bad .. ")",
        function() fcgi.every(bad, print) end)
    end
    blames("bad argument #1 to 'every' (number expected, got nil)",
      function() fcgi.every() end)
    blames("bad argument #2 to 'every' (function expected, got nil)",
      function() fcgi.every(1) end)
    blames("bad argument #2 to 'every' (function expected, got string)",
      function() fcgi.every(1, "x") end)
    assert.are.same({}, world.events)
  end)
end)
