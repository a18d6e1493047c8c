--- fcgi.request -- the part of the request class that is best said in Lua:
--- what the client's query string and cookies hold, and the body by lines.
-- SPDX-License-Identifier: MIT
local accessors = require "fcgi.accessors"
local cookie = require "fcgi.cookie"
local misuse = require "fcgi.misuse"
local urlencoded = require "fcgi.urlencoded"

---@param methods table the request class, to which the accessors are added
---@param memo fun(req: fcgi.Request): table?, string? a private table for each
--- request, the same one each time; nil and why once the request is over
return function(methods, memo)
  --- What decode gives is decoded once.
  local function add(one, decode)
    accessors.add(methods, one, function(req)
      local kept, err = memo(req)
      if not kept then
        return nil, err -- the request is over
      elseif not kept[one] then
        local list
        list, err = decode(req)
        if not list then
          return nil, err -- likewise
        end
        kept[one] = accessors.group(list)
      end
      return kept[one]
    end)
  end

  add("query", function(req)
    local query, err = req:query_string()
    if not query then
      return nil, err
    end
    return urlencoded.decode(query)
  end)

  add("cookie", function(req)
    local header, err = req:header("cookie")
    if err then
      return nil, err
    end
    return cookie.decode(header or "")
  end)

  --- The lines of the body, without their newlines; ends where `read_line`
  --- does.  A carriage return is left, as io.lines leaves it.
  ---@param req fcgi.Request
  ---@return fun(): string?
  function methods.lines(req)
    misuse.check_self(req, "lines")
    local is_ours = false -- only the first time the body can be another's
    return function()
      local line
      if is_ours then
        line = req:read_line()
      else
        line = misuse.pass_on(pcall(req.read_line, req))
        is_ours = true
      end
      if line and line:byte(-1) == 10 then
        return line:sub(1, -2)
      end
      return line
    end
  end
end
