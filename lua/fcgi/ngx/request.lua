--- fcgi.ngx.request -- what `ngx` knows of the request whose task runs: `ngx.var`,
--- `ngx.req`, `ngx.ctx`, and the answer.
-- SPDX-License-Identifier: MIT
local misuse = require "fcgi.misuse"
local text = require "fcgi.ngx.text"

--- How the names of headers are compared.
local function header_key(name)
  return (tostring(name):lower():gsub("_", "-"))
end

--- A table of headers that is asked in any spelling of a name.
local Headers = {
  __index = function(self, name)
    return rawget(self, header_key(name))
  end,
}

-- --- ngx.var ----------------------------------------------------------------

local function non_empty(value)
  if value ~= "" then
    return value
  end
end

--- Name -> what gives it.
local variables = {
  args = function(req) return non_empty(req:query_string()) end,
  content_length = function(req) return non_empty(req:param "CONTENT_LENGTH") end,
  content_type = function(req) return non_empty(req:param "CONTENT_TYPE") end,
  document_root = function(req) return req:param "DOCUMENT_ROOT" end,
  host = function(req)
    local host = req:host()
    return host and host:gsub(":%d+$", ""):lower()
  end,
  https = function(req) return req:scheme() == "https" and "on" or "" end,
  is_args = function(req) return req:query_string() ~= "" and "?" or "" end,
  remote_addr = function(req) return req:remote_addr() end,
  remote_port = function(req) return req:param "REMOTE_PORT" end,
  remote_user = function(req) return req:user() end,
  request_id = function(req) return req.id end,
  request_method = function(req) return req:method() end,
  request_uri = function(req) return req:uri() end,
  scheme = function(req) return req:scheme() end,
  server_addr = function(req) return req:param "SERVER_ADDR" end,
  server_name = function(req) return req:param "SERVER_NAME" end,
  server_port = function(req) return req:param "SERVER_PORT" end,
  server_protocol = function(req) return req:protocol() end,
  uri = function(req) return req:path() end,
}
variables.document_uri = variables.uri
variables.query_string = variables.args

--- An argument as it was sent, in any case of its name.
local function raw_argument(req, wanted)
  for name, value in req:query_string():gmatch("([^&=]+)=?([^&]*)") do
    if name:lower() == wanted then
      return value
    end
  end
end

--- Beginnings of names -> what gives the rest.
local families = {
  arg = raw_argument,
  cookie = function(req, name) return req:cookie(name) end,
  http = function(req, name) return req:header(name) end,
}

local function variable(req, name)
  local get = variables[name]
  if get then
    return get(req)
  end
  local family, rest = name:match("^(%l+)_(.+)$")
  if family and families[family] then
    return families[family](req, rest)
  end
end

-- --- ngx.req.socket ---------------------------------------------------------

--- The body, to be read as from a socket.
local Body = { __name = "ngx.req.socket" }
Body.__index = Body

--- The web server ends a body that does not come.
function Body.settimeout() end
function Body.settimeouts() end

local function read_line(req)
  local line, err = req:read_line()
  if not line then
    return nil, err or "closed", ""
  elseif line:sub(-1) ~= "\n" then
    return nil, "closed", line
  end
  return (line:gsub("\r?\n$", ""))
end

local function read_bytes(req, size)
  local pieces, left = {}, size
  while left > 0 do
    local piece, err = req:read(left)
    if not piece then
      return nil, err or "closed", table.concat(pieces)
    end
    pieces[#pieces + 1] = piece
    left = left - #piece
  end
  return table.concat(pieces)
end

function Body:receive(pattern)
  local size = math.tointeger(tonumber(pattern))
  if size and size >= 0 then
    return read_bytes(self.req, size)
  elseif pattern == nil or pattern == "*l" or pattern == "l" then
    return read_line(self.req)
  elseif pattern == "*a" or pattern == "a" then
    local all, err, partial = read_bytes(self.req, math.maxinteger)
    if err == "closed" then
      return partial
    end
    return all, err, partial
  end
  misuse.bad_argument(1, "receive", "a size, \"*l\" or \"*a\" expected")
end

--- What there is, at most size bytes.
function Body:receiveany(size)
  local piece, err = self.req:read(size)
  if not piece then
    return nil, err or "closed"
  end
  return piece
end

-- --- the parts of ngx -------------------------------------------------------

---@param private table see lua_ngx.c
---@return table parts var, req, header, print, say, flush; get_ctx, set_ctx,
--- get_status, set_status
return function(private)
  local parts = {}

  --- The request, for something that makes no sense without one.
  local function need(what)
    local req = private.request()
    return req or misuse.raise(("%s: no request is being served here (%s)")
      :format(what, private.phase()))
  end

  --- What is kept for a request: it goes with it.
  local notes = setmetatable({}, { __mode = "k" })

  local function notes_of(req)
    local kept = notes[req]
    if not kept then
      kept = { headers = {} }
      notes[req] = kept
    end
    return kept
  end

  parts.var = setmetatable({}, {
    __index = function(_, name)
      return variable(need "ngx.var", tostring(name))
    end,
    __newindex = function(_, name)
      misuse.raise(("ngx.var.%s cannot be set"):format(tostring(name)))
    end,
  })

  -- What belongs to a task that has no request: the table goes with its
  -- coroutine.  Before there are tasks there is one.
  local contexts = setmetatable({}, { __mode = "k" })
  local loading = {}

  function parts.get_ctx()
    local req = private.request()
    if req then
      return req.ctx
    end
    local key = private.coroutine() or loading
    local ctx = contexts[key]
    if not ctx then
      ctx = {}
      contexts[key] = ctx
    end
    return ctx
  end

  function parts.set_ctx(ctx)
    if type(ctx) ~= "table" then
      misuse.raise(("ngx.ctx must be a table, got %s"):format(type(ctx)))
    end
    local req = private.request()
    if req then
      req.ctx = ctx
    else
      contexts[private.coroutine() or loading] = ctx
    end
  end

  -- --- asking ---------------------------------------------------------------

  local ask = {}
  parts.req = ask

  function ask.get_method()
    return need "ngx.req.get_method":method()
  end

  --- Those of a name that was sent again are joined by a comma.
  function ask.get_headers()
    return setmetatable(need "ngx.req.get_headers":header(), Headers)
  end

  function ask.get_uri_args(max)
    return text.decode_args(need "ngx.req.get_uri_args":query_string(), max)
  end

  --- 1.1, as a number
  function ask.http_version()
    local protocol = need "ngx.req.http_version":protocol()
    return tonumber(protocol and protocol:match("^HTTP/([%d.]+)"))
  end

  --- Seconds since 1970.
  function ask.start_time()
    return need "ngx.req.start_time".started
  end

  function ask.is_internal()
    return false
  end

  function ask.read_body()
    local req = need "ngx.req.read_body"
    local body, err = req:body()
    if not body then
      misuse.raise("ngx.req.read_body: " .. tostring(err))
    end
    notes_of(req).body = body
  end

  --- nil before read_body, and when it is empty.
  function ask.get_body_data()
    return non_empty(notes_of(need "ngx.req.get_body_data").body)
  end

  --- A body that is large does not lie in a file of its own here.
  function ask.get_body_file()
    return nil
  end

  function ask.get_post_args(max)
    local body = notes_of(need "ngx.req.get_post_args").body
    if not body then
      return nil, "no body was read"
    end
    return text.decode_args(body, max)
  end

  --- What nobody read is dropped at the end anyway.
  function ask.discard_body() end

  function ask.socket(raw)
    local req = need "ngx.req.socket"
    if raw then
      return nil, "there is no raw socket behind a FastCGI request"
    elseif (req:content_length() or 0) == 0 and
      not req:header "transfer-encoding" then
      return nil, "no body"
    end
    return setmetatable({ req = req }, Body)
  end

  -- --- answering ------------------------------------------------------------

  --- The gateway writes the head, also when nothing was said of it.
  local function begin(req)
    local kept = notes_of(req)
    if not kept.has_begun then
      kept.has_begun = true
      if not kept.status then
        pcall(req.set_status, req, 200) -- it may have gone
      end
    end
  end

  parts.header = setmetatable({}, {
    __index = function(_, name)
      return notes_of(need "ngx.header").headers[header_key(name)]
    end,
    __newindex = function(_, name, value)
      local req = need "ngx.header"
      req:set_header((tostring(name):gsub("_", "-")), value)
      notes_of(req).headers[header_key(name)] = value
    end,
  })

  function parts.get_status()
    return notes_of(need "ngx.status").status or 0
  end

  function parts.set_status(status)
    local req = need "ngx.status"
    req:set_status(math.tointeger(tonumber(status)) or status)
    notes_of(req).status = status
  end

  --- Adds values to a list as texts.
  local function flatten(list, value)
    if type(value) == "table" then
      for _, item in ipairs(value) do
        flatten(list, item)
      end
    elseif value == private.null() then
      list[#list + 1] = "null"
    else
      list[#list + 1] = tostring(value)
    end
  end

  local function write(req, list)
    begin(req)
    local ok, err = req:write(list)
    if not ok then
      return nil, err
    end
    return 1
  end

  function parts.print(...)
    local list = {}
    for i = 1, select("#", ...) do
      flatten(list, (select(i, ...)))
    end
    return write(need "ngx.print", list)
  end

  function parts.say(...)
    local list = {}
    for i = 1, select("#", ...) do
      flatten(list, (select(i, ...)))
    end
    list[#list + 1] = "\n"
    return write(need "ngx.say", list)
  end

  ---@param waits? boolean until the kernel has taken it
  function parts.flush(waits)
    local req = need "ngx.flush"
    begin(req)
    if waits then
      local ok, err = req:flush()
      if not ok then
        return nil, err
      end
    end
    return 1
  end

  return parts
end
