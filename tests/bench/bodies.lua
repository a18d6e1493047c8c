-- 1 MiB out for a GET; a POST's body is swallowed and answered like hello.
local HEAD = "Content-Type: text/plain\r\n\r\n"
local MIB = ("x"):rep(1 << 20)
-- SPDX-License-Identifier: MIT

function on_request(req)
  if req:param "REQUEST_METHOD" == "GET" then
    req:write(HEAD, MIB)
    return
  end
  while req:read(65536) do end
  req:write(HEAD, "Hello ", req:param "REQUEST_URI", "\n")
end
