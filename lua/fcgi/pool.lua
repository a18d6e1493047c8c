--- fcgi.pool -- connecting by way of pools: a connection that lies there is as
--- good as a new one, and a pool may say how many there are at once.
-- SPDX-License-Identifier: MIT
local misuse = require "fcgi.misuse"

---@param options table
local function check_options(options)
  local name = options.pool
  if name ~= nil and name ~= false and type(name) ~= "string" then
    misuse.raise(("bad option 'pool' (string expected, got %s)"):format(
      type(name)))
  end
  for option, least in pairs { pool_size = 1, backlog = 0 } do
    local value = options[option]
    if value ~= nil and not (math.type(value) == "integer" and value >= least)
    then
      misuse.raise(("bad option '%s' (a number of connections expected, got " ..
        "%s)"):format(option, tostring(value)))
    end
  end
end

---@param private table see lua_pool.h
---@return fun(sock, name: string, options: table?, connect: function, ...: any): integer?, string?
return function(private)
  local pool_take, pool_limit = private.pool_take, private.pool_limit
  local pool_ticket, pool_wait = private.pool_ticket, private.pool_wait
  local connect_limit = private.connect_limit

  --- In a pool with a limit: a place comes first.
  local function connect_in_turn(sock, connect, ...)
    local ticket <close>, err = pool_ticket(sock)
    if not ticket then
      return nil, err
    end
    local is_connected
    is_connected, err = pool_wait(ticket, connect_limit(sock))
    if is_connected then
      return 1
    elseif is_connected == nil then
      return nil, err
    end
    local ok
    ok, err = connect(sock, ...)
    return ok, err
  end

  --- Connects a socket with connect(sock, ...) unless the pool of that name, or
  --- what options.pool says, has a connection for it.
  return function(sock, name, options, connect, ...)
    if options then
      check_options(options)
      if options.pool == false then
        return connect(sock, ...)
      end
      name = options.pool or name
      if options.backlog or options.pool_size then
        pool_limit(name, options.pool_size, options.backlog)
      end
    end
    local got, err = pool_take(sock, name)
    if got then
      return 1
    elseif got == false then
      return connect_in_turn(sock, connect, ...)
    elseif err then
      return nil, err
    end
    return connect(sock, ...)
  end
end
