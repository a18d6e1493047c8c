-- authorizer.lua -- says who may see what the web server serves: HTTP Basic.
-- In servers/: lighttpd-authorizer.conf, apache-mod_authnz_fcgi.conf and
-- apache-mod_fcgid-authorizer.conf.
-- Run: fcgi-lua -l 127.0.0.1:9000 authorizer.lua
-- Try: curl -u ada:analytical http://127.0.0.1:8080/app/

local fcgi = require "fcgi"

local USERS = { -- nobody but the gateway may read this file
  ada = { password = "analytical", group = "staff" },
  mary = { password = "frankenstein", group = "guests" },
}
local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" ..
  "0123456789+/"

local function base64(text)
  local out, bits, n = {}, 0, 0
  for digit in text:gmatch "[%w+/]" do
    bits, n = bits << 6 | DIGITS:find(digit, 1, true) - 1, n + 6
    if n >= 8 then
      n, out[#out + 1] = n - 8, string.char(bits >> n - 8 & 255)
    end
  end
  return table.concat(out)
end

-- Apache may have taken the header apart already.
local function credentials(req)
  local password = req:param "REMOTE_PASSWD"
  if password then return req:user(), password end
  local basic = (req:header "Authorization" or ""):match "^[Bb]asic +(%S+)"
  return base64(basic or ""):match "^(.-):(.*)"
end

function on_authorize(req)
  if req:param "FCGI_APACHE_ROLE" == "AUTHORIZER" then
    return USERS[req:user()] ~= nil -- a second call: Apache knows who it is
  end
  local name, password = credentials(req)
  local user = USERS[name or ""]
  if user and fcgi.equal(user.password, password) then
    return true, { REMOTE_USER = name, USER_GROUP = user.group }
  end
  return 401, { ["WWW-Authenticate"] = 'Basic realm="app"' }, "Who are you?\n"
end

function on_request(req) -- the same script may serve what it protects
  return 200, { ["Content-Type"] = "text/plain" },
    ("Hello, %s of %s!\n"):format(req:user(), req:param "USER_GROUP")
end
