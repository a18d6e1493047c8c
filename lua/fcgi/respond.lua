--- fcgi.respond -- methods that answer with what others set and send: cookies,
--- redirects.
-- SPDX-License-Identifier: MIT
local cookie = require "fcgi.cookie"
local misuse = require "fcgi.misuse"

local check_self, pass_on = misuse.check_self, misuse.pass_on

--- Of redirects that a client follows by itself.
local redirects = {
  [301] = true, [302] = true, [303] = true, [307] = true, [308] = true,
}

---@param methods table the request class, to which these are added
return function(methods)
  local add_header, send = methods.add_header, methods.send

  --- Adds a Set-Cookie header; a value of nil deletes the cookie.
  ---@param name string
  ---@param value string|number|nil
  ---@param options? fcgi.CookieOptions
  ---@return fcgi.Request? req
  ---@return string? err
  function methods.set_cookie(req, name, value, options)
    check_self(req, "set_cookie")
    local line = pass_on(pcall(cookie.encode, name, value, options))
    local done, err = pass_on(pcall(add_header, req, "Set-Cookie", line))
    return done, err
  end

  --- Answers with a redirect and finishes.
  ---@param url string
  ---@param status? 301|302|303|307|308 302 by default
  ---@return boolean? ok
  ---@return string? err
  function methods.redirect(req, url, status)
    check_self(req, "redirect")
    if type(url) ~= "string" then
      error(("bad argument #1 to 'redirect' (string expected, got %s)"):format(
        type(url)), 2)
    elseif url == "" then
      error("bad argument #1 to 'redirect' (the URL is empty)", 2)
    elseif url:find("[\0-\32\127]") then
      error("bad argument #1 to 'redirect' (the URL has a blank or a control "
        .. "byte: use fcgi.escape)", 2)
    end
    status = status == nil and 302 or status
    if not redirects[status] then
      error("bad argument #2 to 'redirect' (the status of a redirect is 301, "
        .. "302, 303, 307 or 308)", 2)
    end
    local ok, err = pass_on(pcall(send, req, math.tointeger(status),
      { Location = url }))
    return ok, err
  end
end
