-- What becomes of an error: the client sees a friendly page, the log the truth.
-- Run: fcgi-lua --http=127.0.0.1:8080 errors.lua
-- Try: curl -i 'http://127.0.0.1:8080/?case=raised'     (or caught, or late)

local fcgi = require "fcgi"

local text = { ["Content-Type"] = "text/plain; charset=utf-8" }
local cases = {}

-- Nobody catches it: on_error answers.
function cases.raised()
  error("out of cheese")
end

-- pcall works as ever, around calls that wait too.
function cases.caught()
  local ok, err = pcall(function()
    fcgi.sleep(0.01)
    error("no more crackers", 0)
  end)
  return 200, text, ok and "no error\n" or "caught: " .. tostring(err) .. "\n"
end

-- The head has gone: no other answer can take its place, this one ends here.
function cases.late(req)
  req:set_header("Content-Type", text["Content-Type"])
  req:write("This much has been sent.\n")
  req:flush()
  error("out of wine")
end

local function on_request(req)
  local case = cases[req:query "case"]
  if case then return case(req) end
  return 404, text, "?case=raised, ?case=caught or ?case=late\n"
end

local function on_error(req, err, traceback)
  fcgi.log("error", err, "\n", traceback)
  -- This raises after a late error, when nothing can be answered any more.
  pcall(req.send, req, 500, text,
    "Sorry, that went wrong.  It is in our log as " .. req.id .. ".\n")
end

return { on_request = on_request, on_error = on_error }
