--[[ Many photos, a part at a time, without freezing Lightroom. Every function must be called in a task.

    Batches.SIZE                     photos in a part: one request, one write gate, one step of Undo
    Batches.progress(context, title) → progress scope, done when the context ends
    Batches.parts(list, size)        → array of arrays
    Batches.each(list, progress, f, size) → done, failure, cancelled
        calls f(part, first) for each part; it gives nil, failure to stop. Shows the progress, stops when it
        is cancelled, and lets Lightroom breathe between parts. `done`: how many items were worked on.
    Batches.read(catalog, photos, raw, formatted, properties) → {photo → {key = value}}
        a batch of raw keys, one of formatted keys, one of custom fields; each list may be nil
    Batches.write(catalog, name, f, private) → true, or nil, failure
        f() inside a write gate, which is one step of Undo called `name`. Whoever holds the catalog is waited
        for, then {kind = "busy", message =}; an error inside f takes its changes back: {kind = "failed", message =}.
        `private`: a gate for custom fields alone, without a step of Undo.
    Batches.report(failure, done)    one dialog, for failures from here and from Api; `done`: a sentence on what
                                     was done before, or nil

  The order in a part is always: read Lightroom, ask catalogd, then write. Nothing inside a gate may wait.
]]

local LrDialogs = import "LrDialogs"
local LrProgressScope = import "LrProgressScope"
local LrTasks = import "LrTasks"

local Api = require "Api"
local Log = require "Log"

local Batches = {}

Batches.SIZE = 200 -- a gate of 200 photos is held well under a second; the API takes up to 500 at once

local GATE_TIMEOUT_S = 30 -- how long somebody else's gate is waited for …
local GATE_TRIES = 3 -- … so often

function Batches.progress(context, title)
    return LrProgressScope({ title = title, functionContext = context })
end

function Batches.parts(list, size)
    local parts = {}
    for first = 1, #list, size do
        local part = {}
        for place = first, math.min(first + size - 1, #list) do part[#part + 1] = list[place] end
        parts[#parts + 1] = part
    end
    return parts
end

function Batches.each(list, progress, f, size)
    size = size or Batches.SIZE
    local done = 0
    for _, part in ipairs(Batches.parts(list, size)) do
        if progress:isCanceled() then return done, nil, true end
        progress:setPortionComplete(done, #list)
        local ok, failure = f(part, done + 1)
        if not ok then return done, failure, false end
        done = done + #part
        LrTasks.yield()
    end
    progress:setPortionComplete(done, math.max(1, #list))
    return done, nil, false
end

local function merge(into, found)
    for photo, values in pairs(found) do
        into[photo] = into[photo] or {}
        for key, value in pairs(values) do into[photo][key] = value end
    end
end

function Batches.read(catalog, photos, raw, formatted, properties)
    local found = {}
    if raw then merge(found, catalog:batchGetRawMetadata(photos, raw)) end
    if formatted then merge(found, catalog:batchGetFormattedMetadata(photos, formatted)) end
    if properties then merge(found, catalog:batchGetPropertyForPlugin(photos, _PLUGIN, properties)) end
    return found
end

local function open_gate(catalog, name, f, private)
    local wait = { timeout = GATE_TIMEOUT_S }
    if private then return catalog:withPrivateWriteAccessDo(f, wait) end
    return catalog:withWriteAccessDo(name, f, wait)
end

function Batches.write(catalog, name, f, private)
    for _ = 1, GATE_TRIES do
        local ok, result = LrTasks.pcall(open_gate, catalog, name, f, private)
        if not ok then return nil, { kind = "failed", message = tostring(result) } end
        if result == "executed" or result == nil then return true end
        LrTasks.yield()
    end
    return nil, { kind = "busy", message = name }
end

local function problem_of(failure)
    if failure.kind == "busy" then
        return LOC "$$$/Catalogd/Batches/Busy=Lightroom's catalog is busy.",
            LOC("$$$/Catalogd/Batches/BusyHow=Something else was writing to it all the time, so that “^1” could not be done. What was done before stays. Wait until the other work is through, then try again.", failure.message)
    elseif failure.kind == "failed" then
        return LOC "$$$/Catalogd/Batches/Failed=Lightroom did not take a change.",
            LOC("$$$/Catalogd/Batches/FailedHow=The part of photos that it belongs to was left as it was. Lightroom says: ^1", failure.message)
    end
    return Api.problem(failure)
end

function Batches.report(failure, done)
    local text, how = problem_of(failure)
    Log.failure(failure)
    LrDialogs.message(text, done and how .. "\n\n" .. done or how, "critical")
end

return Batches
