--- fcgi.misuse -- errors that name the script's line.
-- SPDX-License-Identifier: MIT
local getinfo = debug.getinfo

local misuse = {}

--- Names the line that called the method that calls this.
---@param method string its name
function misuse.check_self(req, method)
  if req == nil or type(req) == "string" then
    error(("bad self (write req:%s, with a colon)"):format(method), 3)
  end
end

--- Takes what a pcall gave.  A function that is called by pcall finds no line
--- for its errors; what it called in lua/fcgi gave our own.  An error that is
--- no string (a cancellation) stays what it is.
function misuse.pass_on(ok, ...)
  if not ok then
    local err = ...
    if type(err) == "string" then
      err = err:gsub("^fcgi/[%l_/]+%.lua:%d+: ", "")
    end
    error(err, 3)
  end
  return ...
end

--- Names the line that called into lua/fcgi, through however many functions
--- there.
---@param message string
function misuse.raise(message)
  local level = 2
  local info = getinfo(level, "Sl")
  while info and (info.what == "C" or info.source:sub(1, 6) == "=fcgi/") do
    level = level + 1
    info = getinfo(level, "Sl")
  end
  if info and info.currentline > 0 then
    message = ("%s:%d: %s"):format(info.short_src, info.currentline, message)
  end
  error(message, 0)
end

--- For an argument that is wrong.
---@param position integer
---@param name string of the function
---@param why string
function misuse.bad_argument(position, name, why)
  misuse.raise(("bad argument #%d to '%s' (%s)"):format(position, name, why))
end

--- For an argument of the wrong type.
---@param position integer
---@param name string of the function
---@param expected string
---@param got any
function misuse.bad_type(position, name, expected, got)
  misuse.bad_argument(position, name, ("%s expected, got %s"):format(expected,
    type(got)))
end

return misuse
