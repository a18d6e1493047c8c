-- The script of script_orders_test.c.  A request says by its parameters in what
-- it waits (WAIT), what stands around that (SHAPE), and who waits (WHO); one
-- with a COMMAND does something to the others.  `orders` is the test: it counts
-- what must come out even.
-- luacheck: read globals orders
local fcgi = require "fcgi"

local play = {} -- what commands reach: target, co, channel

--- A value for a to-be-closed variable; f is called when it is closed.
local Guard = {}

function Guard:__close()
  orders.closed()
  if self.f then
    self.f()
  end
end

local function guard(f)
  local made = setmetatable({ f = f }, Guard)
  orders.opened()
  return made
end

--- Does what the test wants of whoever goes on first.
local function go_on(req)
  local what = orders.next()
  if what == "error" then
    error("raised on purpose", 0)
  elseif what == "finish" then
    req:finish()
  end
end

--- An error that the script caught is nothing for the log.
local function note(err)
  if type(err) == "string" and err:find("raised on purpose", 1, true) then
    orders.caught()
  end
end

local function open_channel(capacity)
  local is_new = not play.channel
  play.channel = play.channel or fcgi.channel(capacity)
  return is_new
end

local function put(seconds)
  local value = orders.value()
  local ok, result = pcall(play.channel.put, play.channel, value, seconds)
  orders.put(value, ok and result == true)
  if not ok then
    error(result, 0)
  end
end

local function get(seconds)
  local value = play.channel:get(seconds)
  if value then
    orders.got(value)
  end
  return value
end

--- Somebody to be waited for, who takes a while to clean up.
local function spawn_other(req, seconds)
  return fcgi.spawn(function()
    local _ <close> = guard(function() pcall(fcgi.sleep, 2) end)
    fcgi.sleep(seconds)
    go_on(req)
  end)
end

local function join(req, seconds)
  local other = spawn_other(req, 30)
  play.target = play.target or other
  local _, err = other:join(seconds)
  note(err)
end

local head = "Content-Type: text/plain\r\n\r\n"

local waits = {
  sleep = function() fcgi.sleep(100) end,
  read = function(req) req:read(10) end,
  read_all = function(req) req:read() end,
  read_line = function(req) req:read_line() end,
  body = function(req) req:body() end,
  write = function(req) req:write(head, ("mine"):rep(1000)) end,
  flush = function(req) req:write(head, "mine") req:flush() end,
  join = function(req) join(req) end,
  join_timed = function(req) join(req, 40) end,
  get = function() open_channel(0) get() end,
  get_timed = function() open_channel(0) get(15) end,
  put_timed = function() open_channel(0) put(15) end,
}

function waits.put()
  if open_channel(1) then
    put()
  end
  put()
end

function waits.timeout(req)
  fcgi.timeout(20, function()
    local _ <close> = guard(function() pcall(fcgi.sleep, 1) end)
    fcgi.sleep(25)
    go_on(req)
  end)
end

function waits.task_close(req)
  local other <close> = spawn_other(req, 30)
  play.target = play.target or other
end

function waits.abort_hook(req)
  req:on_abort(function()
    local _ <close> = guard(function() pcall(fcgi.sleep, 1) end)
    fcgi.sleep(30)
    go_on(req)
  end)
  req:on_abort(function() fcgi.sleep(35) end)
  fcgi.sleep(100)
end

function waits.on_error()
  error("the first error", 0)
end

local shapes = {}

function shapes.plain(wait, req)
  wait(req)
end

function shapes.wrap(wait, req)
  coroutine.wrap(function()
    local _ <close> = guard()
    play.co = coroutine.running()
    wait(req)
    go_on(req)
  end)()
end

--- Two coroutines; `which` of them can be closed.
local function nest(wait, req, which)
  local inner = coroutine.create(function()
    local _ <close> = guard()
    wait(req)
    go_on(req)
  end)
  local outer = coroutine.wrap(function()
    local _ <close> = guard()
    play.co = which == "inner" and inner or coroutine.running()
    local ok, err = coroutine.resume(inner)
    if not ok then
      coroutine.close(inner) -- as everywhere in Lua: resume does not
      error(err, 0)
    end
  end)
  outer()
end

function shapes.inner(wait, req)
  nest(wait, req, "inner")
end

function shapes.outer(wait, req)
  nest(wait, req, "outer")
end

function shapes.iterator(wait, req)
  local function each(_, last)
    if last then
      return nil
    end
    wait(req)
    return 1
  end
  for _ in each do
    go_on(req)
  end
end

--- What comes after a wait that was caught may wait again.
function shapes.pcall(wait, req)
  local _ <close> = guard()
  local ok, err = pcall(wait, req)
  if not ok then
    note(err)
  end
  fcgi.sleep(3)
end

function shapes.index(wait, req)
  local slow = setmetatable({}, { __index = function() wait(req) return 1 end })
  return slow.field
end

function shapes.concat(wait, req)
  local slow = setmetatable({}, { __concat = function() wait(req) return "" end })
  return slow .. "x" .. slow
end

--- The block ends, and the wait is in its end.
function shapes.close(wait, req)
  local _ <close> = guard(function() wait(req) end)
end

--- The test cancels the sleep: the wait is in the clean-up.
function shapes.cleanup(wait, req)
  local _ <close> = guard(function()
    local ok, err = pcall(wait, req)
    if not ok then
      note(err)
    end
  end)
  fcgi.sleep(1000)
end

--- However the wait ends, another one follows.
function shapes.closer(wait, req)
  local _ <close> = guard(function() pcall(fcgi.sleep, 4) end)
  local _ <close> = guard(function() pcall(fcgi.sleep, 4) end)
  wait(req)
  go_on(req)
end

--- Goes on waiting whatever it is told, longer than anybody has patience.
function shapes.stubborn(wait, req)
  local _ <close> = guard(function() pcall(fcgi.sleep, 4) end)
  for _ = 1, 12 do
    local ok, err = pcall(wait, req)
    if not ok then
      note(err)
    end
  end
end

local function handle(req)
  local wait, shape = waits[req:param "WAIT"], shapes[req:param "SHAPE"]
  local _ <close> = guard()
  if req:param "WHO" == "handler" then
    shape(wait, req)
    go_on(req)
  else
    play.target = fcgi.spawn(function()
      local _ <close> = guard()
      shape(wait, req)
      go_on(req)
    end)
    fcgi.sleep(60)
    go_on(req)
  end
  return not req:is_aborted() and 200 or nil, nil, "mine"
end

--- Must say the same whatever happens to others.
local function stand_by(req)
  req:write(head)
  for i = 1, 6 do
    local ok, err = pcall(fcgi.sleep, 0.001)
    req:write("B", i, ok and "" or fcgi.cancelled(err))
  end
end

local commands = {
  cancel = function() play.target:cancel("other") end,
  detach = function() play.target:detach() end,
  close = function() pcall(coroutine.close, play.co) end,
  put = function() pcall(put, 0) end,
  get = function() get(0) end,
  shut = function() play.channel:close() end,
  drain = function() repeat until not play.channel or not get(0) end,
}

function on_request(req)
  local command = req:param "COMMAND"
  if command then
    commands[command]()
    return 200, nil, ""
  elseif req:param "WAIT" then
    play = {}
    return handle(req)
  end
  return stand_by(req)
end

if fcgi.args[1] == "on_error" then
  function on_error(req, err)
    local _ <close> = guard(function() pcall(fcgi.sleep, 1) end)
    note(err)
    fcgi.sleep(50)
    go_on(req)
    return 500, nil, "mine"
  end
end
