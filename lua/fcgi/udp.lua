--- fcgi.udp -- what sockets of datagrams do with names of hosts.
-- SPDX-License-Identifier: MIT
local _, private = ...
local fcgi = require "fcgi"

local methods, limit = private.udp_methods, private.udp_limit
local families = { inet4 = "inet", inet6 = "inet6" }

--- Calls a method again, with the addresses of a host in turn, until it succeeds
--- with one.
---@param name string of the method
---@param at integer where the host stands among its arguments
---@param self table the socket
---@param ... any its arguments
---@return 1? ok
---@return string? err
function private.udp_by_name(name, at, self, ...)
  local args = { ... }
  local list, err = fcgi.resolve(args[at], families[self:getfamily()],
    limit(self))
  if not list then
    return nil, err == "not found" and "host not found" or err
  end
  local ok
  for _, address in ipairs(list) do
    args[at] = address
    ok, err = methods[name](self, table.unpack(args, 1, at + 1))
    if ok then
      return ok
    end
  end
  return nil, err
end

return private.udp
