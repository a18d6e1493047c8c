--- fcgi.answer -- whole answers: what a handler returned, or gave to req:send.
-- SPDX-License-Identifier: MIT

local getinfo, pcall = debug.getinfo, pcall -- whatever a script makes of them

--- Bytes that are read from a file at a time.
local PIECE = 65536

--- A table that has something, but no list in it, was meant otherwise.  n is
--- what table.pack counts.
local function check_no_fields(list)
  local field = next(list)
  if field ~= nil and field ~= "n" then
    error("a list of strings or numbers expected, got a table with the field "
      .. tostring(field), 0)
  end
end

--- A list is sent as one string, so that its length is known.
local function join(list, depth)
  if depth > 64 then
    error("lists in lists, too deep", 0)
  end
  local pieces = {}
  if list[1] == nil then
    check_no_fields(list)
  end
  for i, piece in ipairs(list) do
    local kind = type(piece)
    if kind == "table" then
      pieces[i] = join(piece, depth + 1)
    elseif kind == "string" or kind == "number" then
      pieces[i] = piece
    else
      error("a list of strings or numbers expected, got " .. kind, 0)
    end
  end
  return table.concat(pieces)
end

--- Is it req.input or one of its like (fcgi.file)?
local function is_file_object(body)
  local class = getmetatable(body)
  return type(class) == "table" and class.__name == "fcgi.file"
end

--- The kind of a body; or nil and why it cannot be one.
local function kind_of(body)
  local kind = type(body)
  if kind == "string" or kind == "function" then
    return kind
  elseif kind == "nil" then
    return "none"
  elseif kind == "number" then
    return "string"
  elseif is_file_object(body) then
    if body._closed then
      return nil, "the body is a closed file"
    end
    return "file"
  elseif kind == "table" then
    return "table"
  elseif io.type(body) == "file" then
    return "file"
  elseif io.type(body) == "closed file" then
    return nil, "the body is a closed file"
  end
  return nil,
    "a body is a string, a list, an iterator or an open file, not a " .. kind
end

--- The bytes from where a file stands to its end; nil when that is unknown.
local function size_left(file)
  local at = file:seek()
  local size = at and file:seek("end")
  if not (size and file:seek("set", at)) then
    return nil
  end
  return size - at
end

---@param methods table the request class
---@param private table is_begun(req), has_header(req, name), admit(req)
---@return function answer, function authorize
return function(methods, private)
  local is_begun, has_header = private.is_begun, private.has_header
  local set_status, set_header = methods.set_status, methods.set_header
  local write, finish = methods.write, methods.finish

  local function write_pieces(req, next_piece)
    for piece in next_piece do
      local ok, err = write(req, piece)
      if not ok then
        return nil, err
      end
    end
    return true
  end

  local function write_file(req, file)
    local ok, err = write_pieces(req, function() return file:read(PIECE) end)
    file:close()
    return ok, err
  end

  local function set_length(req, status, size)
    if size and status ~= 204 and status ~= 304
      and not has_header(req, "Content-Length") then
      set_header(req, "Content-Length", size)
    end
  end

  --- Misuse is blamed on the script: a hook that returned it is named by its
  --- first line; else the error names the line that called req:send.
  local function blame(hook, message)
    if not hook then
      error(message, 4) -- this, answer, req:send, the script
    end
    local info = getinfo(hook, "S")
    if info.what ~= "C" then
      message = ("%s:%d: %s"):format(info.short_src, info.linedefined, message)
    end
    error(message, 0)
  end

  local header -- the one that is being set
  local function set_headers(req, headers)
    for name, value in pairs(headers) do
      header = name
      set_header(req, name, value)
    end
  end

  local function set_variables(req, vars)
    for name, value in pairs(vars) do
      header = name
      local kind = type(name)
      set_header(req, kind ~= "string" and kind ~= "number" and name
        or "Variable-" .. name, value)
    end
  end

  --- What is wrong with a header, from an error of set_header; any other error
  --- goes on as it is.
  local function explain(err, thing)
    local what = type(err) == "string"
      and err:match("^fcgi/answer%.lua:%d+: bad argument .-%((.*)%)$")
    if not what then
      error(err, 0)
    end
    if type(header) == "number" and thing == "header" then
      what = what .. ': write { ["Content-Type"] = "text/html" }'
    end
    return ("the %s %s of the answer: %s"):format(thing,
      type(header) == "string" and ("%q"):format(header) or tostring(header),
      what)
  end

  --- Everything is checked before the head changes, but for the headers.
  ---@param hook function? that returned this
  local function answer(req, status, headers, body, hook)
    if math.tointeger(status) == nil or status < 200 or status > 599 then
      blame(hook, ("the status %s is not an integer from 200 to 599"):format(
        tostring(status)))
    end
    local kind, wrong = kind_of(body)
    if not kind then
      blame(hook, wrong)
    elseif kind == "table" then
      local good
      good, body = pcall(join, body, 1)
      if not good then
        blame(hook, "the body: " .. tostring(body))
      end
      kind = "string"
    elseif kind == "string" then
      body = tostring(body)
    end
    if headers ~= nil and type(headers) ~= "table" then
      blame(hook, ("headers are a table, not a %s; the order is status, "
        .. "headers, body"):format(type(headers)))
    end
    local ok, err = set_status(req, status)
    if not ok then
      return nil, err -- the request is over
    end
    if headers then
      ok, err = pcall(set_headers, req, headers)
      if not ok then
        blame(hook, explain(err, "header"))
      end
    end

    ok, err = true, nil
    if kind == "string" then
      set_length(req, status, #body)
      ok, err = write(req, body)
    elseif kind == "function" then
      ok, err = write_pieces(req, body)
    elseif kind == "file" then
      set_length(req, status, size_left(body))
      ok, err = write_file(req, body)
    else
      set_length(req, status, 0)
    end
    finish(req)
    return ok, err
  end

  --- req:send(status[, headers[, body]]): answers and finishes.
  function methods.send(req, status, headers, body)
    if is_begun(req) and not req:is_aborted() then
      error("the head has gone, or was begun by req:write", 2)
    end
    local ok, err = answer(req, status, headers, body)
    return ok, err
  end

  --- What on_authorize returned: true[, vars], or a refusal as an answer.
  local function authorize(req, allowed, vars, body, hook)
    if not allowed then
      return answer(req, 403) -- whatever nil or false came with
    elseif allowed ~= true then
      return answer(req, allowed, vars, body, hook)
    end
    if vars ~= nil and type(vars) ~= "table" then
      blame(hook, "variables are a table, not a " .. type(vars))
    end
    local ok, err = pcall(set_variables, req, vars or {})
    if not ok then
      blame(hook, explain(err, "variable"))
    end
    private.admit(req) -- last: an error before it lets nobody in
    return finish(req)
  end

  return answer, authorize
end
