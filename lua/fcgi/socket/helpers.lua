--- fcgi.socket.helpers -- what LuaSocket has besides sockets: exceptions, and
--- sources and sinks for LTN12.
-- SPDX-License-Identifier: MIT

-- --- exceptions --------------------------------------------------------------

--- What try raises and protect catches; other errors pass.
local Exception = {}

function Exception.__tostring(exception)
  return tostring(exception[1])
end

--- A function that passes its arguments on if the first is true; else it calls
--- the finalizer, and raises the second for protect.
local function newtry(finalizer)
  return function(ok, ...)
    if ok then
      return ok, ...
    end
    if finalizer then
      pcall(finalizer)
    end
    error(setmetatable({ (...) }, Exception), 0)
  end
end

local function give(ok, ...)
  if ok then
    return ...
  end
  local err = ...
  if getmetatable(err) == Exception then
    return nil, err[1]
  end
  error(err, 0)
end

--- A function that returns nil and what was raised by try.
local function protect(f)
  return function(...)
    return give(pcall(f, ...))
  end
end

-- --- sources and sinks -------------------------------------------------------

--- Sources and sinks are called, and can be waited for like their sockets.
local function callable(sock, call)
  return setmetatable({
    getfd = function() return sock:getfd() end,
    dirty = function() return sock:dirty() end,
  }, { __call = call })
end

local sinks = {}

sinks["close-when-done"] = function(sock)
  return callable(sock, function(_, chunk)
    if chunk then
      return sock:send(chunk)
    end
    sock:close()
    return 1
  end)
end

sinks["keep-open"] = function(sock)
  return callable(sock, function(_, chunk)
    return chunk and sock:send(chunk) or not chunk and 1
  end)
end

sinks["default"] = sinks["keep-open"]

--- Sources look up BLOCKSIZE when they are called: users set it.
local function make_sources(module)
  local sources = {}

  sources["by-length"] = function(sock, length)
    return callable(sock, function()
      if length <= 0 then
        return nil
      end
      local chunk, err = sock:receive(math.min(module.BLOCKSIZE, length))
      if not chunk then
        return nil, err
      end
      length = length - #chunk
      return chunk
    end)
  end

  sources["until-closed"] = function(sock)
    local is_done
    return callable(sock, function()
      if is_done then
        return nil
      end
      local chunk, err, rest = sock:receive(module.BLOCKSIZE)
      if chunk then
        return chunk
      elseif err ~= "closed" then
        return nil, err
      end
      is_done = true
      sock:close()
      return rest
    end)
  end

  sources["default"] = sources["until-closed"]
  return sources
end

--- A function that calls one of the table's by its name, "default" without one.
local function choose(functions)
  return function(name, ...)
    if type(name) ~= "string" then
      return functions["default"](name, ...)
    end
    local f = functions[name]
    if not f then
      error(("unknown key (%s)"):format(name), 2)
    end
    return f(...)
  end
end

--- Adds to LuaSocket's table what it does not have: its own exceptions and ours
--- do not know one another.
---@param module table
return function(module)
  if not (module.newtry and module.protect) then
    module.newtry, module.protect = newtry, protect
  end
  module.try = module.try or module.newtry()
  module.skip = module.skip or function(n, ...)
    return select(n + 1, ...)
  end
  module.choose = module.choose or choose
  module.sinkt = module.sinkt or sinks
  module.sourcet = module.sourcet or make_sources(module)
  module.sink = module.sink or choose(module.sinkt)
  module.source = module.source or choose(module.sourcet)
end
