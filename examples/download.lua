-- A folder to download from: its listing, and its files with ranges, so that
-- what broke off goes on, and with conditions, for caches.
-- Run: fcgi-lua --http=127.0.0.1:8080 download.lua
-- Try: curl -i -r 0-61 http://127.0.0.1:8080/GPL-3
--
-- Needs LuaFileSystem (Debian: lua-filesystem).  Nothing leads out of the
-- folder, and hidden files are not there.

local fcgi = require "fcgi"
local lfs = require "lfs"

local folder = ... or "/usr/share/common-licenses"
local text = { ["Content-Type"] = "text/plain" }
local html = { ["Content-Type"] = "text/html; charset=utf-8" }
local top = [[
<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{path}</title>
<meta name="viewport" content="width=device-width"><style>
:root { color-scheme: light dark; font-family: sans-serif }
body { max-width: 44em; margin: 2em auto; padding: 0 1em }
table, td:first-child { width: 100%; border-spacing: 0 }
td { padding: .5em 0; border-top: 1px solid #8884; overflow-wrap: anywhere }
td + td { padding-left: 2em; text-align: right; white-space: nowrap }
</style><h1>{path}</h1><table>
]]
local row = [[<tr><td><a href="{url}">{name}</a><td>{size}<td>{date}
]]
local marks = { file = "", directory = "/" } -- what is listed

local function fill(template, values) -- everything is made safe for HTML
  return (template:gsub("{(%l+)}", function(name)
    return fcgi.html(values[name])
  end))
end

-- Is it a folder in ours?  Links are not followed: they may lead anywhere.
local function is_folder(path)
  local at = folder
  for name in path:gmatch "[^/]+" do
    at = at .. "/" .. name
    if lfs.symlinkattributes(at, "mode") ~= "directory" then return false end
  end
  return true
end

local function list(path)
  local page, names = { fill(top, { path = path }) }, {}
  for name in lfs.dir(folder .. path) do
    if name:sub(1, 1) ~= "." then names[#names + 1] = name end
  end
  table.sort(names)
  if path ~= "/" then table.insert(names, 1, "..") end
  for _, name in ipairs(names) do
    local about = lfs.symlinkattributes(folder .. path .. name)
    local mark = marks[about and about.mode] -- nil: a link, or something else
    page[#page + 1] = mark and fill(row, { url = fcgi.escape(name) .. mark,
      name = name .. mark, size = mark == "" and about.size or "",
      date = os.date("%Y-%m-%d", about.modification) })
  end
  return page
end

function on_request(req)
  local method, path = req:method(), req:path()
  local file = fcgi.join(folder, path)
  if method ~= "GET" and method ~= "HEAD" then
    return 405, { Allow = "GET, HEAD" }
  elseif not file or path:find("/.", 1, true) then -- out of it, or hidden
    return 404, text, "not found\n"
  elseif is_folder(path) then
    if path:sub(-1) == "/" then return 200, html, list(path) end
    return req:redirect(fcgi.escape(path:match "[^/]*$") .. "/")
  end
  -- Whoever put it there: no script in it runs as if it were ours.
  req:set_header("Content-Security-Policy", "script-src 'none'")
  req:set_header("X-Content-Type-Options", "nosniff")
  local sent, err = req:send_file(path, { root = folder })
  if not sent and not req:is_aborted() then
    return err == "not found" and 404 or 500, text, err .. "\n"
  end
end
