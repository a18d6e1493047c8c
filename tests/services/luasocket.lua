-- Work for LuaSocket's http and smtp and LuaSec's https, as they are, over
-- fcgi.socket.  Arguments: the web server's URL, the one with TLS, its
-- certificate, the mail server's port.
-- SPDX-License-Identifier: MIT
require "fcgi.socket"
local http = require "socket.http"
local https = require "ssl.https"
local smtp = require "socket.smtp"
local ltn12 = require "ltn12"
local mime = require "mime"

local url, tls_url, cert, mail_port = ...

function works.get()
  local body, status, headers = http.request(url .. "/hello.txt")
  expect("Hello from a file\n", body)
  expect(200, status)
  expect("18", headers["content-length"])
end

function works.head()
  local ok, status, headers = http.request {
    url = url .. "/big", method = "HEAD",
  }
  expect(1, ok)
  expect(200, status)
  expect(tostring(8 << 20), headers["content-length"])
end

function works.missing()
  local _, status = http.request(url .. "/none")
  expect(404, status)
end

-- Puts a file there, of a known length or in chunks, and fetches it.
local function put(request, address, key, headers)
  local sent, got = bytes(1 << 20, #key), {}
  address = address .. "/files/" .. key:gsub("%W", "")
  local _, status = request {
    url = address, method = "PUT", source = ltn12.source.string(sent),
    headers = headers(sent), sink = ltn12.sink.table(got),
    verify = "peer", cafile = cert,
  }
  expect(201, status)
  _, status = request {
    url = address, sink = ltn12.sink.table(got), verify = "peer",
    cafile = cert,
  }
  expect(200, status)
  expect(true, table.concat(got) == sent)
end

local function with_length(body)
  return { ["content-length"] = #body }
end

local function without_length() end

function works.put(_, key)
  put(http.request, url, key, with_length)
end

function works.put_chunked(_, key)
  put(http.request, url, key .. "chunked", without_length)
end

-- An answer without a length, in chunks.
function works.chunked()
  local body, status, headers = http.request(url .. "/chunked")
  expect(200, status)
  expect("chunked", headers["transfer-encoding"])
  expect(true, body == bytes(300000, 3))
end

function works.redirect()
  local body, status = http.request(url .. "/moved")
  expect(200, status)
  expect("Hello from a file\n", body)
end

function works.login()
  local _, status = http.request(url .. "/secret/hello.txt")
  expect(401, status)
  local body
  body, status = http.request((url:gsub("//", "//ada:lovelace@")) ..
    "/secret/hello.txt")
  expect(200, status)
  expect("Hello from a file\n", body)
end

function works.big()
  local size = 0
  local _, status = http.request {
    url = url .. "/big",
    sink = function(piece)
      size = size + #(piece or "")
      return 1
    end,
  }
  expect(200, status)
  expect(8 << 20, size)
end

function works.refused()
  local ok, err = http.request "http://127.0.0.1:1/"
  expect({ nil, "connection refused" }, { ok, err })
end

-- Another copy of the module, with a limit of its own.
package.loaded["socket.http"] = nil
local impatient = require "socket.http"
impatient.TIMEOUT = 0.05

-- The argument is the URL of a server that says nothing.
function works.timeout(silent)
  local ok, err = impatient.request(silent)
  expect(nil, ok)
  return err
end

-- Reads an answer whose server ends in the middle of it.
function works.broken(address)
  local got = {}
  local ok, err = http.request { url = address, sink = ltn12.sink.table(got) }
  expect(nil, ok)
  return #table.concat(got) .. " bytes, " .. tostring(err)
end

-- ---- https ----

function works.tls()
  local got = {}
  local _, status = https.request {
    url = tls_url .. "/hello.txt", verify = "peer", cafile = cert,
    sink = ltn12.sink.table(got),
  }
  expect(200, status)
  expect("Hello from a file\n", table.concat(got))
end

function works.tls_big()
  local got = {}
  local _, status = https.request {
    url = tls_url .. "/big", verify = "peer", cafile = cert,
    sink = ltn12.sink.table(got),
  }
  expect(200, status)
  expect(true, table.concat(got) == bytes(8 << 20))
end

function works.tls_put(_, key)
  put(https.request, tls_url, key .. "tls", with_length)
end

function works.tls_unknown()
  local ok, err = https.request {
    url = tls_url .. "/hello.txt", verify = "peer", capath = "/nonexistent",
  }
  expect(nil, ok)
  expect("certificate verify failed", err:match "certificate verify failed")
end

-- Without being told it believes anybody.
function works.tls_believes()
  local body, status = https.request(tls_url .. "/hello.txt")
  expect(200, status)
  expect("Hello from a file\n", body)
end

function works.tls_without()
  local ok, err = https.request(url:gsub("^http", "https") .. "/hello.txt")
  expect(nil, ok)
  expect("string", type(err))
end

-- ---- smtp ----

-- The argument is the subject.
function works.mail(subject)
  local ok, err = smtp.send {
    from = "<ada@example.org>",
    rcpt = { "<bob@example.org>", "<eve@example.org>" },
    server = "127.0.0.1", port = mail_port,
    source = smtp.message {
      headers = { subject = subject, to = "bob@example.org" },
      body = {
        preamble = "in parts",
        { body = mime.eol(0, "A line.\n.\nAnother one.\n") },
        { headers = { ["content-transfer-encoding"] = "base64" },
          body = ltn12.source.chain(ltn12.source.string(bytes(100000)),
            ltn12.filter.chain(mime.encode "base64", mime.wrap())) },
      },
    },
  }
  expect(1, ok, err)
end
