--- fcgi.misuse -- errors that name the script's line.  What these two functions
--- raise names the line that called the method that calls them.
-- SPDX-License-Identifier: MIT
local misuse = {}

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

return misuse
