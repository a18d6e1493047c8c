--- fcgi.cookie -- the Cookie request header (RFC 6265, 4.2).
--- Values come as the browser sent them: whoever encoded one decodes it.
-- SPDX-License-Identifier: MIT
local cookie = {}

--- Without blanks at both ends.  Not in one pattern: "^[ \t]*(.-)[ \t]*$" tries
--- the whole tail at every blank, and the client chooses how many there are.
local function trim(s)
  local first = s:find("[^ \t]")
  return first and s:match(".*[^ \t]", first) or ""
end

--- Only ";" separates: a comma is a common, if improper, part of values.  What
--- has no "=" or no name is skipped.
---@param header string
---@return { [1]: string, [2]: string }[] pairs name and value, in order
function cookie.decode(header)
  local found = {}
  for piece in header:gmatch("[^;]+") do
    local equals = piece:find("=", 1, true) or 1
    local name = trim(piece:sub(1, equals - 1))
    if name ~= "" then
      local value = trim(piece:sub(equals + 1))
      found[#found + 1] = { name, value:match('^"(.*)"$') or value }
    end
  end
  return found
end

return cookie
