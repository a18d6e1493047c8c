-- Asks a server over TLS, whose certificate and name are verified, and keeps
-- the connection for the next request, which needs no handshake then.
-- Run: fcgi-lua --http=127.0.0.1:8080 tls_client.lua
-- Try: curl http://127.0.0.1:8080/index.html

local fcgi = require "fcgi"

-- fcgi-lua ... tls_client.lua HOST PORT CAFILE; else the system's store
local host, port, cafile = ...
host, port = host or "www.example.org", port or "443"
local text = { ["Content-Type"] = "text/plain; charset=utf-8" }

local function fetch(path)
  local sock <close>, err = fcgi.connect(host .. ":" .. port, {
    timeout = 5, pool = "tls:" .. host .. ":" .. port, pool_size = 10,
  })
  if not sock then return nil, err end
  -- Does nothing on a connection that comes from the pool.
  local ok, why = sock:sslhandshake(nil, host, true, { cafile = cafile })
  if not ok then return nil, why end
  sock:send { "GET ", path, " HTTP/1.1\r\nHost: ", host, "\r\n\r\n" }

  local head, size = {}, nil
  repeat
    local line, problem = sock:receive()
    if not line then return nil, problem end
    head[#head + 1] = line
    size = size or line:lower():match "^content%-length:%s*(%d+)"
  until line == ""
  if not size then return nil, "no length" end
  local body, problem = sock:receive(tonumber(size))
  if not body then return nil, problem end
  fcgi.log("notice", "a connection that was used ", sock:getreusedtimes(),
    " times before")
  sock:setkeepalive(30)
  return body, head[1]:match "^HTTP/1%.1 (%d+)"
end

function on_request(req)
  local body, why = fetch(req:path())
  if not body then return 502, text, why .. "\n" end
  return tonumber(why), text, body
end
