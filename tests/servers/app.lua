-- app.lua -- what the tests ask for behind every web server.
--
-- The last part of the URL's path chooses the answer, because what web servers
-- make of SCRIPT_NAME and PATH_INFO differs.  Where a test and a handler must
-- wait for each other they leave marks: files named PREFIX.what, the prefix
-- being the query's `mark`.  Files, because a web server that spawns may run
-- each request in another process.
-- SPDX-License-Identifier: MIT
local fcgi = require "fcgi"

local MAX_BODY = 64 * 1024 * 1024
local text = { ["Content-Type"] = "text/plain" }
local binary = { ["Content-Type"] = "application/octet-stream" }
local answers = {}

-- Renamed into place, so that whoever sees the mark sees all of it.
local function mark(req, what, content)
  local path = req:query "mark" .. "." .. what
  local file = assert(io.open(path .. ".new", "w"))
  assert(file:write(content or ""))
  assert(file:close())
  assert(os.rename(path .. ".new", path))
end

local function wait_for(req, what)
  local path, limit = req:query "mark" .. "." .. what, fcgi.now() + 60
  repeat
    local file = io.open(path)
    if file then
      file:close()
      return
    end
    fcgi.sleep(0.005)
  until fcgi.now() > limit
  error("nobody left the mark " .. path)
end

-- GET

function answers.hello(req)
  return 200, text, "hello " .. (req:query "name" or "world") .. "\n"
end

function answers.method(req)
  return 200, text, req:method()
end

-- The request header that the query names.
function answers.header(req)
  return 200, text, req:header(req:query "name") or "(none)"
end

function answers.user(req)
  return 200, text, req:user() or "(none)"
end

-- A head of at least `size` bytes, in lines of 1,000.
function answers.head(req)
  req:set_status(200):set_header("Content-Type", "text/plain")
  for i = 1, req:query "size" // 1000 do
    local name = ("X-Fill-%03d"):format(i)
    req:set_header(name, ("%03d"):format(i):rep((1000 - #name - 4) // 3))
  end
  req:write "large head"
end

-- Numbered lines of 64 bytes, `size` bytes in all, some at a time.
function answers.flood(req)
  local line = 0
  req:set_header("Content-Type", "application/octet-stream")
  for _ = 1, req:query "size" // 65536 do
    local lines = {}
    for i = 1, 1024 do
      lines[i] = ("%063d\n"):format(line)
      line = line + 1
    end
    if not req:write(lines) then return end
  end
end

-- POST

-- How many bytes came.
function answers.count(req)
  local n = 0
  for piece in function() return req:read(65536) end do
    n = n + #piece
  end
  return 200, text, tostring(n)
end

-- The body, once all of it is there.
function answers.echo(req)
  return 200, binary, assert(req:body(MAX_BODY))
end

-- The body, piece by piece as it comes.
-- The field `name` of a form.
function answers.form(req)
  return 200, text, req:form "name" or select(2, req:form "name") or "(none)"
end

-- Saves the files of a form as marks named after their fields.
function answers.upload(req)
  local sizes = {}
  for part in req:parts() do
    if part.filename then
      local path = req:query "mark" .. "." .. part.name
      sizes[#sizes + 1] = part.filename .. " " .. assert(part:save(path))
    end
  end
  return 200, text, table.concat(sizes, ", ")
end

function answers.pipe(req)
  req:set_header("Content-Type", "application/octet-stream")
  for piece in function() return req:read(65536) end do
    if not req:write(piece) then return end
  end
end

-- An answer that does not wait for the body.
function answers.refuse()
  return 413, text, "too much for me\n"
end

-- What has no body: it is offered all the same, the gateway drops it.

answers["no-content"] = function()
  return 204, { ["X-Answer"] = "no-content" }, "not to be seen\n"
end

answers["not-modified"] = function()
  return 304, { ETag = '"one"' }, "not to be seen\n"
end

-- Waiting for each other

-- One piece, then the next when the test has seen it.
function answers.steps(req)
  -- nginx holds answers back by default; this header turns that off for one.
  req:set_header("Content-Type", "text/plain")
     :set_header("X-Accel-Buffering", "no")
  for i = 1, 3 do
    req:write("piece ", i, "\n")
    req:flush()
    wait_for(req, "seen" .. i)
  end
  req:write "end\n"
end

-- Leaves the mark `aborted`, and while waiting for the client's end sends
-- nothing but the first line (quiet) or goes on sending (talk).
function answers.quiet(req)
  req:on_abort(function() mark(req, "aborted") end)
  req:set_header("Content-Type", "text/plain")
     :set_header("X-Accel-Buffering", "no")
  req:write "waiting\n"
  req:flush()
  wait_for(req, "end")
end

function answers.talk(req)
  local line = ("talking "):rep(1024) .. "\n"
  req:set_header("Content-Type", "text/plain")
     :set_header("X-Accel-Buffering", "no")
  for _ = 1, 6000 do
    local ok, err = req:write(line)
    if ok then ok, err = req:flush() end
    if not ok then
      mark(req, "aborted", err)
      return
    end
    fcgi.sleep(0.005)
  end
end

-- Says that it runs, and answers when it is told to.
function answers.hold(req)
  mark(req, "started")
  wait_for(req, "go")
  return 200, text, "held and answered\n"
end

-- Faults

function answers.stderr(req)
  req:write_err("to the log: ", req:query "word", "\n")
  return 200, text, "said it\n"
end

function answers.fault(req)
  error("on purpose: " .. req:query "word")
end

function on_request(req)
  local name = req:uri():gsub("%?.*", ""):match "[^/]*$"
  local answer = answers[name]
  if not answer then return 404, text, "no " .. name .. " here\n" end
  return answer(req)
end
