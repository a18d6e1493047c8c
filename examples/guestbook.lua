-- A guestbook, the complete small application: a form that is checked and keeps
-- what was typed, entries in SQLite, page by page, and nothing for bad guests.
-- Run: fcgi-lua --http=127.0.0.1:8080 guestbook.lua
-- Try: curl -L -b token=a -d 'token=a&name=Ada&text=Hi' http://127.0.0.1:8080/
--
-- Needs LuaSQL (Debian: lua-sql-sqlite3).  Its calls block the worker: mostly
-- for a tenth of a millisecond, for a second at most while another one writes.
-- What takes longer blocks nobody in processes of its own: see database.lua.

local fcgi = require "fcgi"
local luasql = require "luasql.sqlite3"

local file = ... or "guestbook.db" -- the script's first argument
local PER_PAGE, limits = 10, { name = 60, text = 1000 } -- characters

local db -- each worker's own: a connection does not survive a fork

-- Each ? stands for one of the values: integers, or text without NUL.
local function sql(statement, ...)
  local values, n, rows = { ... }, 0, {}
  local cursor = assert(db:execute((statement:gsub("%?", function()
    n = n + 1
    return math.type(values[n]) and values[n]
      or "'" .. db:escape(values[n]) .. "'"
  end))))
  if type(cursor) == "number" then return cursor end -- so many were changed
  for row in function() return cursor:fetch({}, "a") end do
    rows[#rows + 1] = row
  end
  return rows
end

local function open()
  db = assert(luasql.sqlite3():connect(file))
  sql "PRAGMA busy_timeout = 1000" -- ms to wait for another's write
  sql "PRAGMA synchronous = NORMAL" -- do not wait for the disk
end

function on_start() -- once for all of them
  open()
  sql "PRAGMA journal_mode = WAL" -- who reads waits for nobody
  sql [[CREATE TABLE IF NOT EXISTS entries
    (id INTEGER PRIMARY KEY, time INTEGER, name TEXT, text TEXT)]]
  db:close()
end

on_worker = open

-- Is it good?  What is not is said in the entry, for the form.
local function check(entry)
  for field, limit in pairs(limits) do
    local value = entry[field]
    entry[field .. "problem"] = not value:find "%S" and "is missing"
      or (not utf8.len(value) or value:find "[\0-\8\14-\31\127]")
        and "has bytes that are no text"
      or utf8.len(value) > limit and "has more than " .. limit .. " characters"
      or nil
  end
  return not entry.nameproblem and not entry.textproblem
end

local css = { ["Content-Type"] = "text/css" }
local style = [[
:root { color-scheme: light dark; font-family: sans-serif }
body { max-width: 36em; margin: 2em auto; padding: 0 1em }
input, textarea { display: block; width: 100%; box-sizing: border-box }
input, textarea, button { font: inherit; margin: .2em 0 .8em; padding: .4em }
strong { color: light-dark(#b00, #f88) }
article { border-top: 1px solid #8884; padding: .8em 0 }
article p { white-space: pre-wrap; overflow-wrap: anywhere; margin: .4em 0 }
]]
local page = [[
<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Guestbook</title>
<meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="style.css">
<h1>Guestbook</h1>
<form method="post"><p><strong>{problem}</strong></p>
<input type="hidden" name="token" value="{token}">
<label>Name <strong>{nameproblem}</strong>
<input name="name" value="{name}" required></label>
<label>Text <strong>{textproblem}</strong>
<textarea name="text" rows="4" required>
{text}</textarea></label>
<button>Sign</button></form>
{{entries}}<nav>{{newer}} {{older}}</nav>
]]
local article = '<article><b>{name}</b> <small>{date}</small>'
  .. '<p>{text}</p></article>\n'

-- {name} becomes that value, made safe; {{name}} one that is HTML already.
local function fill(template, values)
  return (template:gsub("{({?)(%l+)}}?", function(raw, name)
    return (raw == "" and fcgi.html or tostring)(values[name] or "")
  end))
end

local html = { ["Content-Type"] = "text/html; charset=utf-8",
  ["Cache-Control"] = "no-store", -- the token is for one only
  ["Content-Security-Policy"] = "default-src 'none'; style-src 'self'; "
    .. "form-action 'self'; base-uri 'none'; frame-ancestors 'none'" }

local function link(number, label)
  return fill('<a href="?page={number}">{label}</a>',
    { number = number, label = label })
end

local function show(req, status, values)
  local count = sql "SELECT count(*) AS n FROM entries"[1].n
  local last = math.max(1, (count + PER_PAGE - 1) // PER_PAGE)
  local number = math.tointeger(tonumber(req:query "page")) or 1
  number = math.max(1, math.min(number, last))
  local entries = sql("SELECT time, name, text FROM entries "
    .. "ORDER BY id DESC LIMIT ? OFFSET ?", PER_PAGE, (number - 1) * PER_PAGE)
  for i, entry in ipairs(entries) do
    entry.date = os.date("%Y-%m-%d %H:%M", entry.time)
    entries[i] = fill(article, entry)
  end
  values.entries = table.concat(entries)
  values.newer = number > 1 and link(number - 1, "newer")
  values.older = number < last and link(number + 1, "older")
  return status, html, fill(page, values)
end

-- What other sites do not know: their forms have nothing like the cookie.
local function token_of(req)
  local token = (req:cookie "token" or ""):match "^%x+$"
  if not token then
    token = ("%02x"):rep(16):format(fcgi.random(16):byte(1, -1))
    req:set_cookie("token", token, { secure = req:scheme() == "https" })
  end
  return token
end

local function sign(req)
  local form, err = req:form(nil, 16384)
  if not form then return err == "too large" and 413 or 400, {}, err end
  local token = token_of(req)
  local entry = { name = form.name or "", text = form.text or "" }
  entry.token = token
  if not fcgi.equal(form.token or "", token) then
    entry.problem = "This form was too old: please send it again."
    return show(req, 403, entry)
  elseif not check(entry) then
    return show(req, 422, entry)
  end
  sql("INSERT INTO entries (time, name, text) VALUES (?, ?, ?)", os.time(),
    entry.name, entry.text)
  return req:redirect("/", 303) -- so that "reload" does not send it again
end

function on_request(req)
  local method, path = req:method(), req:path()
  if path == "/style.css" then return 200, css, style end
  if path ~= "/" then return 404 end
  if method == "POST" then return sign(req) end
  if method == "GET" or method == "HEAD" then
    return show(req, 200, { token = token_of(req) })
  end
  return 405, { Allow = "GET, HEAD, POST" }
end
