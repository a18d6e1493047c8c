--- fcgi.form -- the fields of a form, from an urlencoded or a multipart body:
--- all of them in memory, so all of them limited.  req:parts is for the rest.
-- SPDX-License-Identifier: MIT
local accessors = require "fcgi.accessors"
local misuse = require "fcgi.misuse"
local urlencoded = require "fcgi.urlencoded"

--- Of the whole body, unless told otherwise: what req:body takes.
local BODY_MAX = 16 * 1024 * 1024

--- Fields that are not files, and files: people fill in some dozens, and each
--- one costs far more than the bytes that a client sends for it.
local FIELDS_MAX = 1000

--- Names and values of fields that are not files: texts that people write.
local FIELD_BYTES_MAX = 1024 * 1024

--- What they can be in the coding of URLs: %XX for each byte, "=" and "&".
local TEXT_MAX = 3 * FIELD_BYTES_MAX + 2 * FIELDS_MAX

--- After these nothing more of the body is of any use.
local final = {
  ["too large"] = true, ["too many fields"] = true, ["bad multipart"] = true,
}

---@param methods table the request class, to which these are added
---@param memo fun(req: fcgi.Request): table?, string? a private table for each
--- request, the same one each time; nil and why once the request is over
---@param private table what lua_parts.c and lua_read.c have for this
return function(methods, memo, private)
  local channel = require("fcgi").channel
  local param, content_length = methods.param, methods.content_length
  local next_part, read_part = private.next_part, private.read_part

  --- Everything that is got on the way is kept in form, because the task that
  --- collects may be cancelled at each wait; then another one may go on.
  local collectors = {}

  collectors["application/x-www-form-urlencoded"] = function(req, form)
    local text, err = private.form_text(req, math.min(form.max, TEXT_MAX))
    if not text then
      return nil, err
    end
    local list = urlencoded.decode(text, FIELDS_MAX, private.decode)
    if not list then
      return nil, "too many fields"
    end
    local size = 0
    for _, pair in ipairs(list) do
      size = size + #pair[1] + #pair[2]
    end
    if size > FIELD_BYTES_MAX then
      return nil, "too large"
    end
    return list
  end

  --- Adds the value of a part; or tells why it cannot.
  local function add_part(form, part)
    local is_file = part.filename ~= nil
    local room = is_file and form.max or form.room - #part.name
    if room < 0 then
      return "too large"
    end
    local value, err = read_part(part, room)
    if err then
      return err
    end
    value = value or ""
    if not is_file then
      form.room = room - #value
    end
    if not (is_file and value == "" and part.filename == "") then -- chosen
      form.list[#form.list + 1] = { part.name, value }
    end
    return nil
  end

  collectors["multipart/form-data"] = function(req, form)
    local err
    if not form.reader then
      local length = content_length(req)
      if length and length > form.max then
        return nil, "too large"
      end
      form.reader, err = private.open_parts(req, form.max)
      if not form.reader then
        return nil, err
      end
      form.list, form.room = {}, FIELD_BYTES_MAX
      form.fields, form.files = 0, 0
    end
    while true do
      if not form.part then
        form.part, err = next_part(form.reader)
        if not form.part then
          return not err and form.list or nil, err
        end
        local kind = form.part.filename and "files" or "fields"
        form[kind] = form[kind] + 1
        if form[kind] > FIELDS_MAX then
          return nil, "too many fields"
        end
      end
      err = add_part(form, form.part)
      if err then
        return nil, err
      end
      form.part = nil
    end
  end

  local function collector_of(req)
    local value = param(req, "CONTENT_TYPE") or ""
    return collectors[value:match("^[ \t]*([^; \t]*)"):lower()]
  end

  --- Raises if the body was taken otherwise; what is no form stays.
  local function begin(req)
    if collector_of(req) then
      private.use_form(req)
    end
  end

  local Hold = { __close = function(hold) hold.lock:get() end }

  --- One task collects; others who ask meanwhile wait for it.
  local function collect(req, form)
    form.lock:put(true)
    local _ <close> = setmetatable({ lock = form.lock }, Hold)
    if form.is_done then
      return
    end
    local list, err = form.collector(req, form)
    form.values, form.err = list and accessors.group(list), err
    form.is_done = true
    form.list, form.reader, form.part = nil, nil, nil
    if final[err] then
      private.drop_body(req)
    end
    local kept = memo(req)
    if kept then
      kept.body = nil -- the text is not needed any more
    end
  end

  local function values_of(req, max)
    local kept, err = memo(req)
    if not kept then
      return nil, err -- the request is over
    end
    local form = kept.form
    if not form then
      local collector = collector_of(req)
      if not collector then
        return nil, "not a form"
      end
      form = { collector = collector, max = max or BODY_MAX, lock = channel(1) }
      kept.form = form
    end
    if not form.is_done then
      collect(req, form)
    end
    return form.values, form.err
  end

  accessors.add(methods, "form", values_of, begin)

  --- The lines of a part, without their newlines, as req:lines gives those of a
  --- body.
  local parts = private.methods
  local read_line = parts.read_line

  function parts.lines(part)
    if part == nil or type(part) == "string" then
      error("bad self (write part:lines, with a colon)", 2)
    end
    return function()
      local is_read, line, err = pcall(read_line, part)
      if not is_read then
        misuse.pass_on(false, line)
      end
      if line and line:byte(-1) == 10 then
        return line:sub(1, -2)
      end
      return line, err
    end
  end
end
