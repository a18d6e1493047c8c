-- Answers at once and works on: a little in the same handler, and what may take
-- longer in a task that outlives it.  Errors of both are in the log.
-- Run: fcgi-lua --http=127.0.0.1:8080 background.lua
-- Try: curl -i 'http://127.0.0.1:8080/?to=ada@example.org'    (or ?to=nobody)

local fcgi = require "fcgi"

-- These stand for a statement to a database and for a talk with a mail server.
local function count_visit(to)
  fcgi.sleep(0.1)
  fcgi.log("notice", "counted a visit of ", to)
end

local function send_mail(to)
  fcgi.sleep(1)
  if not to:find("@", 1, true) then error("not an address: " .. to) end
  fcgi.log("notice", "sent a mail to ", to)
end

function on_request(req)
  local to = req:query "to"
  if not to then
    return 400, { ["Content-Type"] = "text/plain" }, "?to=address\n"
  end
  req:set_status(202):set_header("Content-Type", "text/plain")
  req:write("Your mail is on its way.\n")
  req:finish() -- the client has the whole answer; nothing more can be sent

  -- A task ends with the handler that spawned it, unless it is detached.  Then
  -- it has no request any more: hand it what it needs.
  fcgi.spawn(send_mail, to):detach()
  count_visit(to)
end
