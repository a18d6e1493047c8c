-- A router in 30 lines of Lua: paths with parameters, 404 and 405 for what does
-- not fit, and HEAD and OPTIONS wherever they belong.
-- Run: fcgi-lua --http=127.0.0.1:8080 router.lua
-- Try: curl -X PUT -d Ada http://127.0.0.1:8080/users/2

-- Gives the parameters of a path that fits the template, "/users/:id", or nil.
local function matcher(template)
  local names = {}
  local pattern = template:gsub("[^%w/:]", "%%%0"):gsub(":(%w+)", function(name)
    names[#names + 1] = name
    return "([^/]+)"
  end)
  return function(path)
    local values, params = { path:match("^" .. pattern .. "$") }, {}
    for i, name in ipairs(names) do params[name] = values[i] end
    return values[1] and params
  end
end

local function router(routes) -- of { path, { METHOD = handler, ... } }
  for _, route in ipairs(routes) do
    local methods, allow = route[2], {}
    methods.HEAD = methods.GET -- its body is not sent
    methods.OPTIONS = function() return 204, { Allow = route.allow } end
    for name in pairs(methods) do allow[#allow + 1] = name end
    table.sort(allow)
    route.allow, route.match = table.concat(allow, ", "), matcher(route[1])
  end
  return function(req) -- the first path that fits has it
    for _, route in ipairs(routes) do
      local params = route.match(req:path())
      local handler = params and route[2][req:method()]
      if handler then return handler(req, params) end
      if params then return 405, { Allow = route.allow } end
    end
    return 404
  end
end

-- An application of it, which knows three users by their numbers.

local fcgi = require "fcgi"

local text = { ["Content-Type"] = "text/plain; charset=utf-8" }
local users = { "Lua", "Luna", "Luke" }

local function home()
  return 200, text, "/users\n/users/1\n/articles/2026/On%20Lua.html\n"
end

local function list()
  return 200, text, table.concat(users, "\n") .. "\n"
end

local function show(_, params)
  local name = users[tonumber(params.id)]
  if not name then return 404, text, "no such user\n" end
  return 200, text, name .. "\n"
end

local function rename(req, params)
  local id, name = tonumber(params.id), req:body(100)
  if not users[id] then return 404, text, "no such user\n" end
  if not name or name == "" then return 400, text, "1 to 100 bytes\n" end
  fcgi.log("notice", users[id], " is now ", name)
  users[id] = name
  return 200, text, name .. "\n"
end

local function article(_, params)
  return 200, text, params.year .. ": " .. params.title .. "\n"
end

return router {
  { "/", { GET = home } },
  { "/users", { GET = list } },
  { "/users/:id", { GET = show, PUT = rename } },
  { "/articles/:year/:title.html", { GET = article } },
}
