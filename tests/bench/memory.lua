-- The handlers that memory measures; the parameter REQUEST_URI picks one.
local fcgi = require "fcgi"
-- SPDX-License-Identifier: MIT

local HEAD = "Content-Type: text/plain\r\n\r\n"
local PIECE = ("x"):rep(65536)
local PIECES = 1024 -- 64 MiB

-- Reads the whole body in pieces and answers its length.
local function take(req, pause)
  local n = 0
  for piece in function() return req:read(#PIECE) end do
    n = n + #piece
    if pause then fcgi.sleep(pause) end
  end
  req:write(HEAD, n)
end

local handlers = {}

function handlers.hello(req)
  req:write(HEAD, "Hello\n")
end

handlers["in"] = function(req)
  take(req)
end

-- Reads nothing for a while, then slowly.
handlers["slow-in"] = function(req)
  fcgi.sleep(0.5)
  take(req, 0.001)
end

function handlers.out(req)
  req:write(HEAD)
  for _ = 1, PIECES do
    req:write(PIECE)
  end
end

function handlers.echo(req)
  req:write(HEAD)
  for piece in function() return req:read(#PIECE) end do
    req:write(piece)
  end
end

-- Reads what a hostile form has, part by part, as long as there is any.
function handlers.parts(req)
  local parts, bytes = 0, 0
  local done, err = pcall(function()
    for part in req:parts() do
      parts = parts + 1
      while true do
        local piece = part:read(#PIECE)
        if not piece then break end
        bytes = bytes + #piece
      end
    end
  end)
  req:write(HEAD, ("%s %d parts, %d bytes"):format(
    done and "ok" or tostring(err), parts, bytes))
end

-- The same with all of it in memory, as far as that is allowed.
function handlers.form(req)
  local form, err = req:form()
  req:write(HEAD, form and "ok" or err)
end

-- Says that it runs, then sleeps longer than its peer has patience.
function handlers.sleep(req)
  req:write(HEAD, "zzz\n")
  req:flush()
  fcgi.sleep(5)
end

function on_request(req)
  handlers[req:param("REQUEST_URI"):sub(2)](req)
end
