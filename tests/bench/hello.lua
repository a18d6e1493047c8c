-- The handler that is measured: reads one parameter and writes a line, as
-- the floor and libfcgi_hello do.
-- SPDX-License-Identifier: MIT
function on_request(req)
  local uri = req:param "REQUEST_URI"
  req:write("Content-Type: text/plain\r\n\r\nHello ", uri, "\n")
end
