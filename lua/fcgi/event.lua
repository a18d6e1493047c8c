--- fcgi.event -- req:event: server-sent events (HTML, 9.2).
-- SPDX-License-Identifier: MIT
local fcgi = require "fcgi"
local misuse = require "fcgi.misuse"

local check_self, pass_on = misuse.check_self, misuse.pass_on

local function fail(why)
  error(("bad argument #1 to 'event' (%s)"):format(why), 0)
end

--- A field of one line.
local function check_line(name, value)
  if type(value) ~= "string" and type(value) ~= "number" then
    fail(("%s: string expected, got %s"):format(name, type(value)))
  end
  value = tostring(value)
  if value:find("[\r\n\0]") then
    fail(name .. " has a line end or NUL")
  end
  return value
end

local known = { data = true, event = true, id = true, retry = true }

--- The event as it is sent.
local function encode(event)
  local kind = type(event)
  if kind == "string" or kind == "number" then
    event = { data = event }
  elseif kind ~= "table" then
    fail(("a string or a table expected, got %s"):format(kind))
  end
  for name in pairs(event) do
    if not known[name] then
      fail(("unknown field '%s': data, event, id or retry"):format(
        tostring(name)))
    end
  end
  local lines = {}
  local function add(name, value) lines[#lines + 1] = name .. ": " .. value end
  if event.event ~= nil then
    add("event", check_line("event", event.event))
  end
  if event.id ~= nil then
    add("id", check_line("id", event.id))
  end
  if event.retry ~= nil then
    local retry = math.type(event.retry) and event.retry >= 0
      and event.retry <= 1e9 and math.tointeger(math.ceil(event.retry * 1000))
    if not retry then
      fail("retry: a number of seconds expected")
    end
    add("retry", retry)
  end
  if event.data ~= nil then
    kind = type(event.data)
    if kind ~= "string" and kind ~= "number" then
      fail(("data: string expected, got %s"):format(kind))
    end
    local data = tostring(event.data):gsub("\r\n?", "\n")
    for line in (data .. "\n"):gmatch("([^\n]*)\n") do
      add("data", line)
    end
  elseif #lines == 0 then
    return ":\n\n" -- a comment: that the connection lives
  end
  return table.concat(lines, "\n") .. "\n\n"
end

--- Seconds between two signs of life: proxies drop what is silent for 30 or 60.
local KEEP_ALIVE = 15

---@param methods table the request class, to which it is added
---@param private table is_begun, has_header, body_bytes
---@param memo fun(req): table what is known of a request
return function(methods, private, memo)
  local set_header, write, flush = methods.set_header, methods.write,
    methods.flush
  local has_header, body_bytes = private.has_header, private.body_bytes

  --- Web servers hold answers back, and caches keep them, unless told.
  local function begin(req)
    if not has_header(req, "Content-Type") then
      set_header(req, "Content-Type", "text/event-stream; charset=utf-8")
    end
    if not has_header(req, "Cache-Control") then
      set_header(req, "Cache-Control", "no-cache")
    end
    if not has_header(req, "X-Accel-Buffering") then
      set_header(req, "X-Accel-Buffering", "no") -- nginx
    end
  end

  local Hold = { __close = function(hold) hold.lock:get() end }

  --- One task writes at a time, so that events do not come into one another; and
  --- what is left of one that was cancelled goes before the next.
  local function put(req, about, text)
    about.lock:put(true)
    local _ <close> = about.hold
    text = about.rest .. text
    local before = body_bytes(req)
    local goes_on, ok, err = pcall(write, req, text)
    about.rest = ""
    if not goes_on then
      about.rest = text:sub((body_bytes(req) or 0) - (before or 0) + 1)
      error(ok, 0)
    elseif ok then
      ok, err = flush(req)
    end
    return ok, err
  end

  --- Comments, while the handler has nothing to tell.
  local function keep_alive(req)
    local about = memo(req)
    while about do
      local left = about.event_at + KEEP_ALIVE - fcgi.now()
      if left > 0 then
        fcgi.sleep(left)
      else
        about.event_at = fcgi.now()
        if not put(req, about, ":\n\n") then
          return
        end
      end
    end
  end

  local function send(req, text)
    local about, over = memo(req)
    if not about then
      return nil, over
    end
    if not private.is_begun(req) then
      begin(req)
    end
    about.event_at = fcgi.now()
    if not about.lock then
      about.lock, about.rest = fcgi.channel(1), ""
      about.hold = setmetatable({ lock = about.lock }, Hold)
      fcgi.spawn(keep_alive, req)
    end
    return put(req, about, text)
  end

  --- Sends an event; the first one sends the head.
  ---@param event string|number|{data?: string, event?: string, id?: string,
  ---  retry?: number}
  ---@return true? sent
  ---@return string? err
  function methods.event(req, event)
    check_self(req, "event")
    local text = pass_on(pcall(encode, event))
    local ok, err = pass_on(pcall(send, req, text))
    if not ok then
      return nil, err
    end
    return true
  end
end
