-- auth.lua -- the authorizer that the tests put before every web server that
-- knows one, and the application that it protects.
--
-- The query's `auth` chooses the verdict, because what comes to an authorizer
-- is the URL of what is protected.  For marks see app.lua.
-- SPDX-License-Identifier: MIT
local fcgi = require "fcgi"

local verdicts = {}

local function mark(req, what)
  local path = req:query "mark" .. "." .. what
  assert(assert(io.open(path .. ".new", "w")):close())
  assert(os.rename(path .. ".new", path))
end

local function exists(path)
  local file = io.open(path)
  return file and file:close()
end

local function wait_for(req, what)
  local path, limit = req:query "mark" .. "." .. what, fcgi.now() + 60
  while not exists(path) do
    assert(fcgi.now() < limit, "nobody left the mark")
    fcgi.sleep(0.005)
  end
end

-- Who lets in

function verdicts.allow()
  return true, { REMOTE_USER = "ada", COLOUR = "blue", LONG = ("x"):rep(3000) }
end

-- What an authorizer can read: nothing, and it need not wait for that.
function verdicts.body(req)
  local line, rest, piece = req:read_line(), req:read(), req:read(10)
  if line or rest or piece then return 500 end
  return true, { REMOTE_USER = "ada", COLOUR = req:method() }
end

verdicts["whole-body"] = function(req)
  return req:body() == "", { REMOTE_USER = "ada", COLOUR = req:method() }
end

function verdicts.nameless()
  return true, { COLOUR = "blue" }
end

function verdicts.slow(req)
  fcgi.sleep(0.05)
  return verdicts.allow(req)
end

function verdicts.hold(req)
  mark(req, "started")
  wait_for(req, "go")
  return verdicts.allow(req)
end

function verdicts.cookie(req)
  req:set_header("Set-Cookie", "session=new")
  return verdicts.allow(req)
end

-- What Apache tells.
function verdicts.phase(req)
  local user, role = req:user() or "", req:param "FCGI_APACHE_ROLE" or "NONE"
  local password = req:param "REMOTE_PASSWD" or ""
  return true, { REMOTE_USER = "ada",
    ["SAW_" .. role] = user .. "/" .. password }
end

-- Who does not

function verdicts.nothing() end
verdicts["nil"] = function() return nil, "not you" end
verdicts["false"] = function() return false end
function verdicts.yes() return "yes" end
function verdicts.one() return 1 end
function verdicts.empty() return {} end
verdicts["200"] = function() return 200, {}, "come in" end
verdicts["204"] = function() return 204 end
verdicts["403"] = function() return 403, {}, "not you\n" end
verdicts["500"] = function() return 500 end
verdicts["503"] = function() return 503 end
verdicts["504"] = function() return 504 end
function verdicts.header(req) req:set_header("X-Let", "me") end
function verdicts.header_false(req)
  req:set_header("X-Let", "me")
  return false
end
function verdicts.raw(req) req:write "Content-Type: text/plain\r\n\r\nhi" end
function verdicts.raw_200(req) req:write "Status: 200 OK\r\n\r\nhi" end
function verdicts.built_200(req) req:set_status(200):write "hi" end
function verdicts.send(req) return req:send(200, {}, "hi") end
function verdicts.finish(req) req:finish() return true end
function verdicts.late(req) req:send(403) return true end
function verdicts.err() error "on purpose: exception" end
function verdicts.err_object() error {} end
function verdicts.split() return true, { A = "b\r\nStatus: 200" } end
function verdicts.timeout() fcgi.sleep(3600) return true end
function verdicts.die() os.exit(1) end

function verdicts.ask()
  return 401, { ["WWW-Authenticate"] = 'Basic realm="script"',
    ["X-Why"] = "who are you", ["Set-Cookie"] = "session=none" },
    "who are you?\n"
end

function verdicts.login()
  return 302, { Location = "/login", ["X-Why"] = "log in" }
end

local function on_authorize(req)
  return verdicts[req:query "auth" or "nothing"](req)
end

-- The application: its environment, then its body.
local function on_request(req)
  local names = {}
  for name in pairs(req:param()) do names[#names + 1] = name end
  table.sort(names)
  local lines = { "protected" }
  for i, name in ipairs(names) do
    lines[i + 1] = name .. "=" .. req:param(name)
  end
  return 200, { ["Content-Type"] = "text/plain" },
    table.concat(lines, "\n") .. "\n\n" .. (req:body() or "")
end

-- A page from here is not an admission either.
local function on_error(req, err)
  fcgi.log("error", tostring(err))
  return req.role == "authorizer" and 200 or 500, {}, "sorry"
end

return { on_authorize = on_authorize, on_request = on_request,
  on_error = on_error, timeout = 5 }
