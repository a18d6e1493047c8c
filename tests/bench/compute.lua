-- Answers as hello.lua does, after computing: $LOOPS times a little.
-- SPDX-License-Identifier: MIT
local loops = tonumber(os.getenv "LOOPS")

function on_request(req)
  local sum = 0
  for i = 1, loops do sum = sum + i % 7 end
  req:write("Content-Type: text/plain\r\n\r\nHello ",
    sum >= 0 and req:param "REQUEST_URI", "\n")
end
