-- Sends the body back piece by piece as it arrives, whatever its size.
-- Run: fcgi-lua --http=127.0.0.1:8080 echo.lua
-- Try: curl --data-binary @/etc/os-release http://127.0.0.1:8080/
--
-- nginx stops sending the body once an answer has begun.  Behind it this works
-- for small bodies only; for large ones read everything first (req:body).

function on_request(req)
  -- Not the type the client names: a browser would run what somebody sent.
  req:set_header("Content-Type", "application/octet-stream")
  for piece in function() return req:read(65536) end do
    req:write(piece)
  end
end
