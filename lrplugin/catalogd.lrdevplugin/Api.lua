--[[ catalogd's HTTP API. The only file that knows HTTP; every function here must be called in a task.

    Api.call(name, arguments)      → answer (a table), or nil, failure
    Api.bytes(name, arguments)     → body, or nil, failure           for pictures
    Api.all(name, list, arguments, each) → true, or nil, failure     every page of a long list: `each(item)`,
                                     which may return false to stop
      `name`       a key of ENDPOINTS
      `arguments`  {path = {photo_id = 7}, query = {q = "cat"}, body = table, timeout = seconds}, all optional
      failure      {kind = "down" | "timeout" | "token" | "answer", message =, status =, error = kind in the answer}
    Api.report(failure)            one dialog that says what to do
    Api.problem(failure)           its text and explanation, without a dialog
    Api.try(address, token)        → health, or nil, failure         for the settings, before they are kept
]]

local LrDialogs = import "LrDialogs"
local LrHttp = import "LrHttp"

local Json = require "Json"
local Log = require "Log"
local Preferences = require "Preferences"

local Api = {}

local ROOT = "/api/v1"
local TIMEOUT_S = 30 -- for each phase of a request, not for all of it; the daemon answers in well under one
local MAX_PAGES = 100000 -- a cursor that never ends is the daemon's fault: 20 million items

Api.ENDPOINTS = {
    health = { "GET", "/health" },
    status = { "GET", "/status" },
    search = { "POST", "/search" },
    count = { "GET", "/count" },
    similar = { "POST", "/similar" },
    lookup = { "POST", "/photos/lookup" },
    face_image = { "GET", "/photos/{photo_id}/faces/{face}/image" },
    people = { "GET", "/people" },
    person = { "GET", "/people/{number}" },
    person_photos = { "GET", "/people/{number}/photos" },
    people_suggestions = { "GET", "/people/suggestions" },
    people_action = { "POST", "/people/actions" },
    people_undo = { "POST", "/people/undo" },
    cull = { "POST", "/cull" },
    analyze = { "POST", "/analyze" },
    job = { "GET", "/jobs/{job_id}" },
    cancel_job = { "DELETE", "/jobs/{job_id}" },
    give_photos = { "PUT", "/user-data/{source}/photos" },
    give_collections = { "PUT", "/user-data/{source}/collections" },
}

-- ── a request ────────────────────────────────────────────────────────────────────────────────────

local function quoted(value)
    return (tostring(value):gsub("[^%w%-%._~]", function(byte) return string.format("%%%02X", byte:byte()) end))
end

local function value_text(value)
    if type(value) == "number" and value % 1 == 0 then return string.format("%.0f", value) end
    return tostring(value)
end

local function url_of(address, endpoint, arguments)
    local path = endpoint[2]:gsub("{([%w_]+)}", function(name)
        local value = (arguments.path or {})[name]
        assert(value ~= nil, "no " .. name .. " for " .. endpoint[2])
        return quoted(value_text(value))
    end)
    local names, parts = {}, {}
    for name in pairs(arguments.query or {}) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
        parts[#parts + 1] = name .. "=" .. quoted(value_text(arguments.query[name]))
    end
    return address .. ROOT .. path .. (#parts > 0 and "?" .. table.concat(parts, "&") or "")
end

local function headers_of(token, has_body)
    local headers = {
        { field = "Accept", value = "application/json" },
        { field = "Accept-Encoding", value = "identity" }, -- to this machine, packing costs more than it saves
    }
    if token then headers[#headers + 1] = { field = "Authorization", value = "Bearer " .. token } end
    if has_body then headers[#headers + 1] = { field = "Content-Type", value = "application/json" } end
    return headers
end

-- Lightroom tells a broken network by a table, older versions by a bare number.
local function network_failure(found, address)
    local code = type(found) == "table" and found.error and found.error.errorCode or tostring(found)
    return { kind = code == "timedOut" and "timeout" or "down", message = tostring(code), address = address }
end

local function answer_failure(body, status, address)
    local answer = Json.decode(body)
    local told = type(answer) == "table" and type(answer.error) == "table" and answer.error or {}
    local kind = (status == 401 or status == 403) and "token" or "answer"
    return { kind = kind, status = status, error = told.kind, position = told.position, address = address,
             message = type(told.message) == "string" and told.message or "HTTP " .. status }
end

local function send(address, token, endpoint, arguments)
    local method, body = endpoint[1], ""
    if arguments.body then
        local problem
        body, problem = Json.encode(arguments.body)
        if not body then return nil, { kind = "answer", message = problem, address = address } end
    end
    local url, timeout = url_of(address, endpoint, arguments), arguments.timeout or TIMEOUT_S
    local headers = headers_of(token, arguments.body ~= nil)
    local answer, found
    if method == "GET" then
        answer, found = LrHttp.get(url, headers, timeout)
    else
        answer, found = LrHttp.post(url, body, headers, method, timeout)
    end
    if not answer then return nil, network_failure(found, address) end
    local status = type(found) == "table" and found.status or 0
    if status < 200 or status > 299 then return nil, answer_failure(answer, status, address) end
    return answer
end

function Api.bytes(name, arguments)
    local endpoint = assert(Api.ENDPOINTS[name], "no endpoint " .. tostring(name))
    return send(Preferences.address(), Preferences.token(), endpoint, arguments or {})
end

local function decoded(body, failure, address)
    if not body then return nil, failure end
    if body == "" then return {} end
    local answer, problem = Json.decode(body)
    if type(answer) ~= "table" then
        return nil, { kind = "answer", message = problem or "no JSON object", address = address }
    end
    return answer
end

function Api.call(name, arguments)
    local body, failure = Api.bytes(name, arguments)
    return decoded(body, failure, Preferences.address())
end

function Api.all(name, list, arguments, each)
    arguments = arguments or {}
    local query = {}
    for key, value in pairs(arguments.query or {}) do query[key] = value end
    for _ = 1, MAX_PAGES do
        local page, failure = Api.call(name, { path = arguments.path, query = query, timeout = arguments.timeout })
        if not page then return nil, failure end
        for _, item in ipairs(page[list] or {}) do
            if each(item) == false then return true end
        end
        query.cursor = page.next
        if not page.next then return true end
    end
    return nil, { kind = "answer", message = "the list " .. list .. " never ends", address = Preferences.address() }
end

function Api.try(address, token)
    local body, failure = send(address, nil, Api.ENDPOINTS.health, { timeout = 5 })
    if not body then return nil, failure end
    body, failure = send(address, token, Api.ENDPOINTS.status, { timeout = 5 })
    return decoded(body, failure, address)
end

-- ── what went wrong, for a person ────────────────────────────────────────────────────────────────

function Api.problem(failure)
    local address = failure.address or Preferences.address()
    if failure.kind == "down" then
        return LOC("$$$/Catalogd/Api/Down=catalogd does not answer at ^1.", address),
            LOC "$$$/Catalogd/Api/DownHow=Start it in a terminal with: catalogd run ~/Pictures^n(with your folder of photos), or, only to search: catalogd serve^n^nIf it runs on another machine or port, say so in File > Plug-in Manager > catalogd."
    elseif failure.kind == "timeout" then
        return LOC("$$$/Catalogd/Api/Late=catalogd at ^1 did not answer in time.", address),
            LOC "$$$/Catalogd/Api/LateHow=It may be starting, or busy with another large request. Try again in a moment."
    elseif failure.kind == "token" then
        return LOC("$$$/Catalogd/Api/Token=catalogd at ^1 does not accept the token.", address),
            LOC "$$$/Catalogd/Api/TokenHow=Run in a terminal, on the machine with catalogd: catalogd token^nand put what it prints into File > Plug-in Manager > catalogd > Token."
    end
    return LOC "$$$/Catalogd/Api/Refused=catalogd could not do this.", failure.message
end

function Api.report(failure)
    local text, how = Api.problem(failure)
    Log.failure(failure)
    LrDialogs.message(text, how, "critical")
end

return Api
