-- The other examples in one process: each has globals of its own, and serves
-- what is below its name as if it stood alone.  demo.sh builds and starts this.
-- Run: fcgi-lua --http=127.0.0.1:8080 demo.lua
-- Try: curl 'http://127.0.0.1:8080/hello/?name=Ada'     (/ in a browser: all)

local fcgi = require "fcgi"

local here = arg[0]:match "^.*/" or ""
local folder = ... or "/tmp" -- where they save what they are sent
local examples = { -- in the order of the page; each with its arguments
  { "hello" }, { "query" }, { "env" }, { "echo" }, { "upload", folder },
  { "download" }, { "guestbook", folder .. "/guestbook.db" }, { "template" },
  { "router" }, { "json" }, { "clock" }, { "countdown" }, { "stream" },
  { "slow" }, { "parallel" }, { "cancel" }, { "background" }, { "pipeline" },
  { "cron" }, { "iterator" }, { "errors" },
}
local html = { ["Content-Type"] = "text/html; charset=utf-8" }
local apps, page = {}, { "<!DOCTYPE html><title>fcgi-lua</title>\n" }

local function load_app(name, ...)
  local env = setmetatable({}, { __index = _G })
  local app = assert(loadfile(here .. name .. ".lua", "t", env))(...)
  app = type(app) == "function" and { on_request = app } or app or env
  if app.on_start then app.on_start() end
  return app
end

-- What the comment of an example says: what it shows, and how to see that.
local function describe(name)
  local about = { ('<h2><a href="%s/">%s.lua</a></h2>\n'):format(name, name) }
  for line in io.lines(here .. name .. ".lua") do
    if not line:find "^%-%- " then return about end
    local text = fcgi.html(line:sub(4)):gsub("http://[^/]+", "%0/" .. name)
    local path = line:match "^%-%- Try: .*http://[^/]+/([^%s']*)"
    if path then
      path = fcgi.html(name .. "/" .. path)
      text = ('<p><a href="%s">%s</a>'):format(path, text:sub(6))
    end
    if not text:find "^Run:" then about[#about + 1] = text .. "\n" end
  end
end

-- The request as it comes to one that is mounted there.
local function below(mount, req)
  local path, uri = req:path():sub(#mount + 1), req:uri():gsub("^/[^/?]*", "")
  local own = { path = path, path_info = path, script_name = "", uri = uri }
  local function redirect(_, url, ...)
    return req:redirect((url:gsub("^/", mount .. "/")), ...)
  end
  return setmetatable({ redirect = redirect }, { __index = function(_, name)
    local value = req[name]
    if type(value) ~= "function" then return value end
    return function(_, ...)
      if own[name] then return own[name] end
      return value(req, ...)
    end
  end })
end

for _, example in ipairs(examples) do
  local ok, app = pcall(load_app, table.unpack(example))
  apps["/" .. example[1]] = ok and app or nil
  page[#page + 1] = { describe(example[1]),
    ok and "" or ("<p>It is not here: %s\n"):format(
      fcgi.html(tostring(app):match "[^\n]*")) }
end

local function on_worker(id)
  for _, app in pairs(apps) do
    if app.on_worker then app.on_worker(id) end
  end
end

local function app_of(req)
  local mount = req:path():match "^/[^/]*"
  return apps[mount], mount
end

local function on_request(req)
  local app, mount = app_of(req)
  if not app then return mount == "/" and 200 or 404, html, page end
  if req:path() == mount then
    return req:redirect(mount .. "/?" .. req:query_string(), 308)
  end
  return app.on_request(below(mount, req))
end

local function on_error(req, ...)
  local app, mount = app_of(req)
  if app and app.on_error then return app.on_error(below(mount, req), ...) end
end

return { on_worker = on_worker, on_request = on_request, on_error = on_error,
  abort = "cancel" }
