--[[ JSON, for Lua 5.1 without anything else. Pure.

    Json.encode(value)            → text, or nil, message
    Json.decode(text, keep_nulls) → value, or nil, message with the position ("… at 17", 1-based, in bytes)
    Json.null                     null in what is sent, and in arrays that were read
    Json.array(table)             marks it as an array, which matters when it is empty; gives it back
    Json.object(table)            marks it as an object, which matters when its keys are 1, 2, 3 …

  A table without a mark is an array when it has items 1 … n and nothing else, and n > 0; otherwise an object.
  A member of an object that is null is left out by `decode`, so that `if photo.title then` means what it
  says; with `keep_nulls` it is Json.null. Whole numbers are exact to 2^53. What is read is marked, so it is
  written again as it was.
]]

local Json = {}

local MAX_DEPTH = 100 -- deeper is an attack or a mistake: the API's own answers have 8 levels
local EXACT = 2 ^ 53 -- the whole numbers that a Lua number holds without loss
local POINT = string.format("%.1f", 0.5):match("[^05]+") -- a comma where Lightroom speaks German

local ARRAY, OBJECT = { __name = "json array" }, { __name = "json object" }

Json.null = setmetatable({}, { __tostring = function() return "null" end })

function Json.array(list)
    return setmetatable(list, ARRAY)
end

function Json.object(members)
    return setmetatable(members, OBJECT)
end

-- ── writing ──────────────────────────────────────────────────────────────────────────────────────

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
                  ["\t"] = "\\t" }

local function escaped(character)
    return ESCAPES[character] or string.format("\\u%04x", character:byte())
end

local REPLACEMENT = "\239\191\189" -- U+FFFD
local SEQUENCES = { -- every well-formed sequence beyond ASCII (Unicode, table 3-7)
    "^[\194-\223][\128-\191]",
    "^\224[\160-\191][\128-\191]",
    "^[\225-\236\238\239][\128-\191][\128-\191]",
    "^\237[\128-\159][\128-\191]",
    "^\240[\144-\191][\128-\191][\128-\191]",
    "^[\241-\243][\128-\191][\128-\191][\128-\191]",
    "^\244[\128-\143][\128-\191][\128-\191]",
}

local function sequence_end(text, at)
    for _, pattern in ipairs(SEQUENCES) do
        local _, last = text:find(pattern, at)
        if last then return last end
    end
end

-- The text with each byte that is no UTF-8 replaced.
local function valid(text)
    local at = text:find("[\128-\255]")
    if not at then return text end
    local pieces, from = {}, 1
    while at do
        local last = sequence_end(text, at)
        if not last then
            pieces[#pieces + 1] = text:sub(from, at - 1) .. REPLACEMENT
            from, last = at + 1, at
        end
        at = text:find("[\128-\255]", last + 1)
    end
    pieces[#pieces + 1] = text:sub(from)
    return table.concat(pieces)
end

local function string_text(text)
    return '"' .. valid(text):gsub('[%c"\\\127]', escaped) .. '"'
end

local function number_text(number)
    if number ~= number or number == math.huge or number == -math.huge then
        error({ message = "JSON has no " .. tostring(number) }, 0)
    end
    if number % 1 == 0 and math.abs(number) <= EXACT then return string.format("%.0f", number) end
    for digits = 15, 17 do
        local text = string.format("%." .. digits .. "g", number)
        if tonumber(text) == number or digits == 17 then return (text:gsub("%" .. POINT, ".", 1)) end
    end
end

local function is_array(value)
    local mark = getmetatable(value)
    if mark == ARRAY or mark == OBJECT then return mark == ARRAY end
    local count = 0
    for key in pairs(value) do
        if type(key) ~= "number" then return false end
        count = count + 1
    end
    return count > 0 and count == #value
end

local function key_text(key)
    if type(key) == "string" then return key end
    if type(key) == "number" and key % 1 == 0 then return string.format("%.0f", key) end
    error({ message = "a " .. type(key) .. " can't be the name of a member" }, 0)
end

local write

local function write_array(list, out, depth)
    out[#out + 1] = "["
    for place = 1, #list do
        if place > 1 then out[#out + 1] = "," end
        write(list[place], out, depth)
    end
    out[#out + 1] = "]"
end

-- The members in the order of their names, so that the same value is always the same text.
local function write_object(members, out, depth)
    local names, values = {}, {}
    for key, value in pairs(members) do
        local name = key_text(key)
        names[#names + 1], values[name] = name, value
    end
    table.sort(names)
    out[#out + 1] = "{"
    for place, name in ipairs(names) do
        out[#out + 1] = (place > 1 and "," or "") .. string_text(name) .. ":"
        write(values[name], out, depth)
    end
    out[#out + 1] = "}"
end

function write(value, out, depth)
    local kind = type(value)
    if value == Json.null or value == nil then
        out[#out + 1] = "null"
    elseif kind == "boolean" then
        out[#out + 1] = tostring(value)
    elseif kind == "number" then
        out[#out + 1] = number_text(value)
    elseif kind == "string" then
        out[#out + 1] = string_text(value)
    elseif kind ~= "table" then
        error({ message = "JSON has no " .. kind }, 0)
    elseif depth >= MAX_DEPTH then
        error({ message = "nested deeper than " .. MAX_DEPTH .. " levels" }, 0)
    elseif is_array(value) then
        write_array(value, out, depth + 1)
    else
        write_object(value, out, depth + 1)
    end
end

-- pcall is right here and in `decode`: nothing inside can yield.
function Json.encode(value)
    local out = {}
    local ok, problem = pcall(write, value, out, 0)
    if ok then return table.concat(out) end
    return nil, type(problem) == "table" and problem.message or tostring(problem)
end

-- ── reading ──────────────────────────────────────────────────────────────────────────────────────

local function fail(message, at)
    error({ message = message .. " at " .. at }, 0)
end

local function utf8(code)
    if code < 0x80 then return string.char(code) end
    if code < 0x800 then return string.char(0xC0 + math.floor(code / 0x40), 0x80 + code % 0x40) end
    local last = string.char(0x80 + math.floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
    if code < 0x10000 then return string.char(0xE0 + math.floor(code / 0x1000)) .. last end
    return string.char(0xF0 + math.floor(code / 0x40000), 0x80 + math.floor(code / 0x1000) % 0x40) .. last
end

local PLAIN = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

-- \uXXXX at `at` (the backslash), a pair of surrogates as one character, half a pair as U+FFFD:
-- the text and where it goes on.
local function unicode_escape(text, at)
    local digits = text:match("^%x%x%x%x", at + 2)
    if not digits then fail("a \\u without four hexadecimal digits", at) end
    local code = tonumber(digits, 16)
    if code < 0xD800 or code > 0xDFFF then return utf8(code), at + 6 end
    local low = tonumber(text:match("^\\u(%x%x%x%x)", at + 6) or "0", 16)
    if code > 0xDBFF or low < 0xDC00 or low > 0xDFFF then return REPLACEMENT, at + 6 end
    return utf8(0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00), at + 12
end

-- The string that begins at `at` (its quote), and where the text goes on behind it.
local function read_string(text, at)
    local pieces, from = {}, at + 1
    while true do
        local stop = text:find('["\\%c]', from)
        if not stop then fail("a string without an end", at) end
        local found = text:sub(stop, stop)
        pieces[#pieces + 1] = text:sub(from, stop - 1)
        if found == '"' then return table.concat(pieces), stop + 1 end
        if found == "\127" then
            pieces[#pieces + 1], from = found, stop + 1
        elseif found ~= "\\" then
            fail("a control character in a string", stop)
        else
            local kind = text:sub(stop + 1, stop + 1)
            if kind == "u" then
                pieces[#pieces + 1], from = unicode_escape(text, stop)
            elseif PLAIN[kind] then
                pieces[#pieces + 1], from = PLAIN[kind], stop + 2
            else
                fail("an unknown escape", stop)
            end
        end
    end
end

local function read_number(text, at)
    local _, stop = text:find("^-?%d+", at)
    if not stop or text:find("^-?0%d", at) then fail("no value", at) end
    local _, fraction = text:find("^%.%d+", stop + 1)
    local _, exponent = text:find("^[eE][+-]?%d+", (fraction or stop) + 1)
    stop = exponent or fraction or stop
    local number = tonumber((text:sub(at, stop):gsub("%.", POINT)))
    if not number or number == math.huge or number == -math.huge then fail("a number that is too large", at) end
    return number, stop + 1
end

local function skip(text, at)
    return text:find("[^ \t\r\n]", at) or #text + 1
end

local WORDS = { { "true", true }, { "false", false }, { "null", Json.null } }
local read

local function read_array(text, at, options, depth)
    local list, count = Json.array({}), 0
    at = skip(text, at + 1)
    if text:sub(at, at) == "]" then return list, at + 1 end
    while true do
        count = count + 1
        list[count], at = read(text, at, options, depth)
        at = skip(text, at)
        local mark = text:sub(at, at)
        if mark == "]" then return list, at + 1 end
        if mark ~= "," then fail("no , or ] in an array", at) end
        at = at + 1
    end
end

local function read_object(text, at, options, depth)
    local members = Json.object({})
    at = skip(text, at + 1)
    if text:sub(at, at) == "}" then return members, at + 1 end
    while true do
        at = skip(text, at)
        if text:sub(at, at) ~= '"' then fail("no name of a member", at) end
        local name, value
        name, at = read_string(text, at)
        at = skip(text, at)
        if text:sub(at, at) ~= ":" then fail("no : behind a name", at) end
        value, at = read(text, at + 1, options, depth)
        if value == Json.null and not options.keep_nulls then value = nil end
        members[name] = value
        at = skip(text, at)
        local mark = text:sub(at, at)
        if mark == "}" then return members, at + 1 end
        if mark ~= "," then fail("no , or } in an object", at) end
        at = at + 1
    end
end

function read(text, at, options, depth)
    at = skip(text, at)
    local mark = text:sub(at, at)
    if mark == '"' then return read_string(text, at) end
    if mark == "{" or mark == "[" then
        if depth >= MAX_DEPTH then fail("nested deeper than " .. MAX_DEPTH .. " levels", at) end
        return (mark == "{" and read_object or read_array)(text, at, options, depth + 1)
    end
    if mark:find("[-%d]") then return read_number(text, at) end
    for _, word in ipairs(WORDS) do
        if text:sub(at, at + #word[1] - 1) == word[1] then return word[2], at + #word[1] end
    end
    fail("no value", at)
end

function Json.decode(text, keep_nulls)
    if type(text) ~= "string" then return nil, "no text" end
    local ok, value, at = pcall(read, text, 1, { keep_nulls = keep_nulls }, 0)
    local rest = ok and skip(text, at)
    if ok and rest <= #text then ok, value = false, { message = "more behind the value at " .. rest } end
    if ok then return value end
    return nil, type(value) == "table" and value.message or tostring(value)
end

return Json
