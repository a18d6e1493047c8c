-- A reverse proxy: hands requests on to another web server and its answers
-- back, both as they come, and no faster than the other side takes them.
-- Run: fcgi-lua --http=127.0.0.1:8080 proxy.lua
-- Try: curl -T big.iso http://127.0.0.1:8080/upload    (with a server on 8000)

local fcgi = require "fcgi"

local upstream = (...) or "127.0.0.1:8000"
local text = { ["Content-Type"] = "text/plain; charset=utf-8" }

-- Headers that speak of one connection only.
local HOP = {
  connection = true, ["keep-alive"] = true, te = true, trailer = true,
  ["transfer-encoding"] = true, upgrade = true, ["x-forwarded-for"] = true,
}

-- In HTTP/1.0: the end of the answer is the end of the connection.
local function send_head(sock, req)
  local lines = {}
  for name, value in pairs(req:header()) do
    if not HOP[name] and value ~= "" then
      lines[#lines + 1] = { name, ": ", value, "\r\n" }
    end
  end
  return sock:send { req:method(), " ", req:uri(), " HTTP/1.0\r\n", lines,
    "X-Forwarded-For: ", req:remote_addr() or "unknown", "\r\n\r\n" }
end

local function send_body(sock, req)
  for piece in function() return req:read(65536) end do
    if not sock:send(piece) then return end -- it has answered without the rest
  end
end

function on_request(req)
  local sock <close>, err = fcgi.connect(upstream, { timeout = 10 })
  if not sock then return 502, text, err .. "\n" end
  sock:settimeouts(10, 60, 60) -- to connect, to send, to receive a piece
  send_head(sock, req)
  fcgi.spawn(send_body, sock, req) -- while the answer may come already

  local line, why = sock:receive()
  local status = line and tonumber(line:match "^HTTP/1%.%d (%d%d%d)")
  if not status then return 502, text, (why or line) .. "\n" end
  req:set_status(status)
  for field in function() return sock:receive() end do
    local name, value = field:match "^(%S+):%s*(.-)%s*$"
    if not name then break end -- the empty line
    if not HOP[name:lower()] then req:add_header(name, value) end
  end
  for piece in function() return sock:receiveany(65536) end do
    if not req:write(piece) then return end -- the client has gone
  end
end
