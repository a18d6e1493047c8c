--- fcgi.pool -- connecting by way of pools: a connection that lies there is as
--- good as a new one, and a pool may say how many there are at once.
-- SPDX-License-Identifier: MIT

---@param private table see lua_pool.h
---@return fun(sock, name: string, options: table?, connect: function, ...: any): integer?, string?
return function(private)
  local pool_take = private.pool_take
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
  --- of the name in options.pool, has a connection for it; false: no pool.
  return function(sock, name, options, connect, ...)
    local got, err
    if not options then
      got, err = pool_take(sock, name)
    else
      local pool = options.pool
      got, err = pool_take(sock, pool == nil and name or pool,
        options.pool_size, options.backlog)
    end
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
