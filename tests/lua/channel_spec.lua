--- What channels do, in tasks that are plain coroutines: a waiter yields, and a
--- small scheduler resumes those that were woken, in order.
local new_channel = require "fcgi.channel"

--- A scheduler whose time passes when the test says so.
local function new_world()
  local world = { now = 0, ready = {}, sleepers = {}, running = nil }

  function world.spawn(f, ...)
    local task = { co = coroutine.create(f), args = table.pack(...) }
    world.ready[#world.ready + 1] = task
    return task
  end

  local function wake(task)
    if task.waiting then
      task.waiting.tasks[task] = nil
      task.waiting = nil
      world.ready[#world.ready + 1] = task
    end
  end

  --- As the gateway's waiter: wait([seconds]), wake().
  function world.new_waiter()
    local waiter = { tasks = {} }
    function waiter.wait(_, seconds)
      local task = world.running
      task.waiting = waiter
      task.deadline = seconds and seconds < math.huge and world.now + seconds
      waiter.tasks[task] = true
      coroutine.yield()
      if task.cancelled then
        task.cancelled = nil
        error("cancelled", 0)
      end
    end
    function waiter.wake()
      local somebody_waits = next(waiter.tasks) ~= nil
      for task in pairs(waiter.tasks) do
        wake(task)
      end
      return somebody_waits
    end
    return waiter
  end

  local function step(task)
    world.running = task
    local got = table.pack(coroutine.resume(task.co,
      table.unpack(task.args or {})))
    task.args, world.running = nil, nil
    if coroutine.status(task.co) == "dead" then
      coroutine.close(task.co) -- its variables, after an error
      task.ok = got[1]
      task.results = table.pack(table.unpack(got, 2, got.n))
    end
  end

  --- Until every task waits.
  function world.run()
    while world.ready[1] do
      local task = table.remove(world.ready, 1)
      if coroutine.status(task.co) ~= "dead" then
        step(task)
      end
    end
  end

  --- Timers that are due wake their tasks, which have not run yet then.
  function world.pass(seconds, tasks)
    world.now = world.now + seconds
    for _, task in ipairs(tasks) do
      if task.waiting and task.deadline and task.deadline <= world.now then
        wake(task)
      end
    end
  end

  function world.cancel(task)
    if task.waiting then
      task.cancelled = true
      wake(task)
    end
  end

  --- By force, wherever it is: only its variables are closed.
  function world.kill(task)
    wake(task)
    return coroutine.close(task.co)
  end

  world.channel = new_channel(world.new_waiter)
  return world
end

--- What a task gave, as a list.
local function results(task)
  assert.are.equal("dead", coroutine.status(task.co))
  assert.is_true(task.ok, task.results[1])
  return { table.unpack(task.results, 1, task.results.n) }
end

describe("a channel", function()
  local world, ch

  before_each(function()
    world = new_world()
  end)

  local function get(...)
    return world.spawn(ch.get, ch, ...)
  end

  local function put(...)
    return world.spawn(ch.put, ch, ...)
  end

  local function is_waiting(task)
    return task.waiting ~= nil
  end

  describe("without room", function()
    before_each(function()
      ch = world.channel()
    end)

    it("hands a value from a putter that waits to a getter", function()
      local putter = put "v"
      world.run()
      assert.is_true(is_waiting(putter))
      local getter = get()
      world.run()
      assert.are.same({ "v" }, results(getter))
      assert.are.same({ true }, results(putter))
    end)

    it("hands a value to a getter that waits, without a wait", function()
      local getter = get()
      world.run()
      assert.is_true(is_waiting(getter))
      local putter = put "v"
      world.run()
      assert.are.same({ true }, results(putter))
      assert.are.same({ "v" }, results(getter))
    end)

    it("serves getters in the order in which they came", function()
      local getters = {}
      for i = 1, 5 do
        getters[i] = get()
      end
      world.run()
      for i = 1, 5 do
        put(i)
      end
      world.run()
      for i = 1, 5 do
        assert.are.same({ i }, results(getters[i]))
      end
    end)

    it("takes from putters in the order in which they came", function()
      for i = 1, 5 do
        put(i)
      end
      world.run()
      for i = 1, 5 do
        local getter = get()
        world.run()
        assert.are.same({ i }, results(getter))
      end
    end)

    it("does not keep a value that no getter waits for", function()
      assert.are.same({ nil, "timeout" }, { ch:put("v", 0) })
      assert.are.same({ nil, "timeout" }, { ch:get(0) })
    end)
  end)

  describe("with room", function()
    before_each(function()
      ch = world.channel(2)
    end)

    it("takes as many values as it has room for, in order", function()
      assert.is_true(ch:put(1))
      assert.is_true(ch:put(2))
      assert.are.same({ nil, "timeout" }, { ch:put(3, 0) })
      assert.are.equal(1, ch:get())
      assert.is_true(ch:put(3))
      assert.are.equal(2, ch:get())
      assert.are.equal(3, ch:get())
      assert.are.same({ nil, "timeout" }, { ch:get(0) })
    end)

    it("lets a putter that waits in when one value is taken", function()
      ch:put(1)
      ch:put(2)
      local putters = { put(3), put(4) }
      world.run()
      assert.are.equal(1, ch:get())
      world.run()
      assert.are.same({ true }, results(putters[1]))
      assert.is_true(is_waiting(putters[2]))
      for i = 2, 4 do
        assert.are.equal(i, ch:get())
      end
      world.run()
      assert.are.same({ true }, results(putters[2]))
    end)

    it("keeps no trace of many values", function()
      for i = 1, 1000 do
        ch:put(i)
        assert.are.equal(i, ch:get())
      end
      assert.are.equal(0, ch.values.count)
      local left = 0
      for key in pairs(ch.values) do
        left = left + (type(key) == "number" and 1 or 0)
      end
      assert.are.equal(0, left)
    end)
  end)

  describe("with a limit of time", function()
    before_each(function()
      ch = world.channel()
    end)

    it("lets a getter go with nothing", function()
      local getter = get(2)
      world.run()
      world.pass(1, { getter })
      world.run()
      assert.is_true(is_waiting(getter))
      world.pass(1, { getter })
      world.run()
      assert.are.same({ nil, "timeout" }, results(getter))
      assert.are.same({ nil, "timeout" }, { ch:put("v", 0) }) -- it has left
    end)

    it("lets a putter go with its value", function()
      local putter = put("v", 2)
      world.run()
      world.pass(2, { putter })
      world.run()
      assert.are.same({ nil, "timeout" }, results(putter))
      assert.are.same({ nil, "timeout" }, { ch:get(0) })
    end)

    it("gives nothing to a getter whose time is over, before its turn too",
      function()
        local getter = get(1)
        world.run()
        world.pass(1, { getter })
        assert.are.same({ nil, "timeout" }, { ch:put("v", 0) })
        world.run()
        assert.are.same({ nil, "timeout" }, results(getter))
      end)

    it("takes nothing from a putter whose time is over, before its turn too",
      function()
        local putter = put("v", 1)
        world.run()
        world.pass(1, { putter })
        assert.are.same({ nil, "timeout" }, { ch:get(0) })
        world.run()
        assert.are.same({ nil, "timeout" }, results(putter))
      end)

    it("passes over those who have left, in the middle too", function()
      local first, second, third = get(), get(1), get()
      world.run()
      world.pass(1, { second })
      world.run()
      ch:put "a"
      ch:put "b"
      world.run()
      assert.are.same({ "a" }, results(first))
      assert.are.same({ nil, "timeout" }, results(second))
      assert.are.same({ "b" }, results(third))
    end)

    it("waits for ever when that is infinite", function()
      local getter = get(math.huge)
      world.run()
      world.pass(1e9, { getter })
      world.run()
      assert.is_true(is_waiting(getter))
    end)
  end)

  describe("when a task is cancelled or closed", function()
    before_each(function()
      ch = world.channel()
    end)

    it("forgets a getter and a putter", function()
      local getter = get()
      world.run()
      world.cancel(getter)
      world.run()
      assert.is_false(getter.ok)
      local putter = put "v"
      world.run()
      assert.is_true(is_waiting(putter))
      world.cancel(putter)
      world.run()
      assert.is_false(putter.ok)
      assert.are.same({ nil, "timeout" }, { ch:get(0) })
    end)

    it("gives the value to the next getter", function()
      local first, second = get(), get()
      world.run()
      ch:put "v"
      world.kill(first)
      world.run()
      assert.are.same({ "v" }, results(second))
    end)

    it("keeps the value for a getter to come, before later ones", function()
      ch = world.channel(2)
      local getter = get()
      world.run()
      ch:put(1)
      ch:put(2)
      world.kill(getter)
      assert.are.equal(1, ch:get(0))
      assert.are.equal(2, ch:get(0))
    end)

    it("passes over one that was cancelled, before its turn too", function()
      local getter, other = get(), get()
      world.run()
      world.cancel(getter)
      assert.is_true(ch:put("v", 0))
      world.run()
      assert.is_false(getter.ok)
      assert.are.same({ "v" }, results(other))
    end)

    it("lets no putter in over its room for a value that came back",
      function()
        local getter = get()
        world.run()
        ch:put "first"
        world.kill(getter) -- "first" lies there, without room
        local putter = put "second"
        world.run()
        assert.are.equal("first", ch:get(0))
        world.run()
        assert.is_true(is_waiting(putter)) -- nobody has taken its value
        assert.are.equal("second", ch:get(0))
        world.run()
        assert.are.same({ true }, results(putter))
      end)
  end)

  describe("that is closed", function()
    it("fails who waits, and who comes", function()
      ch = world.channel()
      local getters = { get(), get(5) }
      world.run()
      ch:close()
      world.run()
      for i = 1, 2 do
        assert.are.same({ nil, "closed" }, results(getters[i]))
      end
      assert.are.same({ nil, "closed" }, { ch:get() })
      assert.are.same({ nil, "closed" }, { ch:get(0) })
      assert.are.same({ nil, "closed" }, { ch:put "v" })
      assert.are.same({ nil, "closed" }, { ch:put("v", 0) })
      ch:close() -- twice
    end)

    it("fails putters that wait", function()
      ch = world.channel(1)
      ch:put "kept"
      local putters = { put "a", put("b", 5) }
      world.run()
      ch:close()
      world.run()
      assert.are.same({ nil, "closed" }, results(putters[1]))
      assert.are.same({ nil, "closed" }, results(putters[2]))
      assert.are.equal("kept", ch:get())
      assert.are.same({ nil, "closed" }, { ch:get() })
    end)

    it("still gives what it has", function()
      ch = world.channel(3)
      ch:put(1)
      ch:put(false)
      ch:close()
      assert.are.equal(1, ch:get())
      assert.are.equal(false, (ch:get()))
      assert.are.same({ nil, "closed" }, { ch:get() })
    end)

    it("gives a value that was handed over before", function()
      ch = world.channel()
      local getter = get()
      world.run()
      ch:put "v"
      ch:close()
      world.run()
      assert.are.same({ "v" }, results(getter))
    end)

    it("is closed by a variable's end", function()
      do
        local closing <close> = world.channel()
        ch = closing
      end
      assert.are.same({ nil, "closed" }, { ch:put "v" })
    end)
  end)

  it("takes false for a value, handed over in every way", function()
    ch = world.channel()
    local getter = get()
    world.run()
    assert.is_true(ch:put(false))
    world.run()
    assert.are.same({ false }, results(getter))
    local putter = put(false)
    world.run()
    assert.are.same({ false, n = 1 }, table.pack(ch:get()))
    world.run()
    assert.are.same({ true }, results(putter))
    getter = get()
    world.run()
    ch:put(false)
    world.kill(getter)
    assert.are.same({ false, n = 1 }, table.pack(ch:get(0)))
  end)

  describe("blames the line that", function()
    local function blames(expected, f)
      local line = debug.getinfo(f, "S").linedefined
      local ok, err = pcall(f)
      assert.is_false(ok)
      assert.are.equal(("%s:%d: %s"):format("channel_spec.lua", line, expected),
        (err:gsub("^.*/", "")))
    end

    before_each(function()
      ch = world.channel()
    end)

    it("puts nil", function()
      blames("bad argument #1 to 'put' (nil is what an empty channel gives)",
        function() ch:put(nil) end)
    end)

    it("has no number of seconds", function()
      blames("bad argument #2 to 'put' (number expected, got string)",
        function() ch:put(1, "x") end)
      blames("bad argument #1 to 'get' (number expected, got boolean)",
        function() ch:get(true) end)
      for _, bad in ipairs { -1, 0 / 0, -math.huge } do
        blames("bad argument #2 to 'put' (not a number of seconds)",
          function() ch:put(1, bad) end)
        blames("bad argument #1 to 'get' (not a number of seconds)",
          function() ch:get(bad) end)
      end
    end)

    it("has no number of values", function()
      for _, bad in ipairs { -1, 1.5, "x", {} } do
        blames("bad argument #1 to 'channel' (not a number of values)",
          function() world.channel(bad) end)
      end
    end)

    it("forgets the colon", function()
      for _, method in ipairs { "put", "get", "close" } do
        for _, self in ipairs { 1, "x", {} } do
          blames(("bad self (write channel:%s, with a colon)"):format(method),
            function() ch[method](self) end)
        end
      end
    end)
  end)

  it("hides how it is made", function()
    assert.is_false(getmetatable(world.channel()))
  end)
end)
