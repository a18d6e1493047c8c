-- A long answer, made while it is sent: when the client is slow req:write waits
-- for it, so neither a large answer nor a slow reader takes memory.
-- Run: fcgi-lua --http=127.0.0.1:8080 stream.lua
-- Try: curl --limit-rate 1M -o /dev/null 'http://127.0.0.1:8080/?bytes=9000000'

local PIECE = 65536

-- The piece at this offset: lines of 16 bytes that each say where it begins.
local function piece_at(offset)
  return ("%015d\n"):format(offset):rep(PIECE // 16)
end

function on_request(req)
  local bytes = math.tointeger(tonumber(req:query "bytes")) or 8 << 20
  bytes = math.max(0, math.min(bytes, 1 << 30))

  req:set_header("Content-Type", "text/plain")
  req:set_header("Content-Length", bytes)
  for offset = 0, bytes - 1, PIECE do
    if not req:write(piece_at(offset):sub(1, bytes - offset)) then
      return -- the client has gone
    end
  end
end
