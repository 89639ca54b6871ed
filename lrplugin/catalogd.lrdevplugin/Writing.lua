--[[ From catalogd's results to changes in Lightroom's catalog. Every function must be called in a task.

    Writing.plan(catalog, photos, progress, policy) → plan, failure, cancelled
        Reads and asks; nothing is written. One request for 200 photos.
    Writing.plan_back(catalog, photos, progress)    → plan, nil, cancelled
        What would be taken back.
    Writing.write(catalog, plan, progress, step)    → written, failure, cancelled
        Reads each part of photos again and writes what is still to be done: one gate and one step of
        Undo, called `step`, for 200 photos. `written`: how many photos were changed.

  plan  {items = array of {photo =, results = (nil to take back)}, policy =,
         counts = {field → photos}, kept = {field → {reason → photos}},
         examples = array of {name =, lines = Changes.lines}, skipped = {reason → photos},
         removed = {path → LrKeyword} that were taken off photos}
  policy  of Changes.lua, and also include_copies
]]

local Batches = require "Batches"
local Changes = require "Changes"
local Json = require "Json"
local Keywords = require "Keywords"
local Matching = require "Matching"
local Photos = require "Photos"
local Words = require "Words"

local Writing = {}

local MOST_EXAMPLES = 25 -- photos in the preview: what a person looks through

local EMPTY = { pickStatus = 0, colorNameForLabel = "none" } -- what these are set to in order to empty them

-- ── planning ─────────────────────────────────────────────────────────────────────────────────────

local function count(table_, key)
    table_[key] = (table_[key] or 0) + 1
end

local function note(plan, current, change)
    for field, reason in pairs(change.kept) do
        plan.kept[field] = plan.kept[field] or {}
        count(plan.kept[field], reason)
    end
    if Changes.is_empty(change) then return false end
    local lines, seen = Changes.lines(change), {}
    for _, line in ipairs(lines) do
        if not seen[line.field] then count(plan.counts, line.field) end
        seen[line.field] = true
    end
    if #plan.examples < MOST_EXAMPLES then
        plan.examples[#plan.examples + 1] = { name = current.name, lines = lines }
    end
    return true
end

local function new_plan(policy)
    return { items = {}, policy = policy, counts = {}, kept = {}, examples = {}, skipped = {}, removed = {} }
end

-- Why a photo gets nothing: "video", "copy", or nil.
local function left_out(current, policy)
    if current.is_video then return "video" end
    if current.is_copy and not policy.include_copies then return "copy" end
    return nil
end

local function eligible(plan, part, currents)
    local photos = {}
    for _, photo in ipairs(part) do
        local reason = left_out(currents[photo], plan.policy)
        if reason then
            count(plan.skipped, reason)
        else
            photos[#photos + 1] = photo
        end
    end
    return photos
end

-- What is kept of a lookup's row until it is written.
local function results_of(row)
    local results = row.results
    if results then results.photo_id, results.text = row.photo_id, nil end
    return results
end

local function plan_part(plan, part, currents, rows)
    for _, photo in ipairs(part) do
        local results = results_of(rows[photo])
        if not results then
            count(plan.skipped, rows[photo].state)
        elseif note(plan, currents[photo], Changes.of(currents[photo], results, plan.policy)) then
            plan.items[#plan.items + 1] = { photo = photo, results = results }
        else
            count(plan.skipped, "same")
        end
    end
end

function Writing.plan(catalog, photos, progress, policy)
    local plan, read = new_plan(policy), Photos.reader(catalog)
    local _, failure, cancelled = Batches.each(photos, progress, function(part)
        local currents = read(part)
        local chosen = eligible(plan, part, currents)
        if #chosen == 0 then return true end
        local rows, problem = Matching.lookup(catalog, chosen, { "results" })
        if not rows then return nil, problem end
        plan_part(plan, chosen, currents, rows)
        return true
    end)
    return plan, failure, cancelled
end

function Writing.plan_back(catalog, photos, progress)
    local plan, read = new_plan({ parent = "" }), Photos.reader(catalog)
    local _, failure, cancelled = Batches.each(photos, progress, function(part)
        local currents = read(part)
        for _, photo in ipairs(part) do
            if note(plan, currents[photo], Changes.back(currents[photo])) or next(currents[photo].written) then
                plan.items[#plan.items + 1] = { photo = photo }
            end
        end
        return true
    end)
    return plan, failure, cancelled
end

-- ── writing ──────────────────────────────────────────────────────────────────────────────────────

local function keyword_objects(current)
    local found = {}
    for place, path in ipairs(current.keywords) do found[Words.fold(path)] = current.keyword_objects[place] end
    return found
end

-- In a gate. Nothing here waits.
local function apply(photo, current, change, make, removed)
    for _, value in ipairs(change.values) do
        local new = value.new
        if new == nil then new = EMPTY[value.key] end
        photo:setRawMetadata(value.key, new)
    end
    for _, keyword in ipairs(change.add) do photo:addKeyword(make(keyword.path)) end
    local objects = keyword_objects(current)
    for _, keyword in ipairs(change.remove) do
        local object = objects[Words.fold(keyword.path)]
        photo:removeKeyword(object)
        removed[keyword.path] = object
    end
    for id, text in pairs(change.details) do photo:setPropertyForPlugin(_PLUGIN, id, text or nil) end
    local written = next(change.written) ~= nil and Json.encode(change.written) or nil
    photo:setPropertyForPlugin(_PLUGIN, "written", written)
end

local function changes_now(plan, part, currents)
    local todo = {}
    for _, item in ipairs(part) do
        local current = currents[item.photo]
        local change = item.results and Changes.of(current, item.results, plan.policy) or Changes.back(current)
        if not Changes.is_empty(change) or (not item.results and next(current.written)) then
            todo[#todo + 1] = { photo = item.photo, current = current, change = change }
        end
    end
    return todo
end

function Writing.write(catalog, plan, progress, step)
    local read, make, written = Photos.reader(catalog), Keywords.maker(catalog, plan.policy.parent), 0
    local _, failure, cancelled = Batches.each(plan.items, progress, function(part)
        local photos = {}
        for place, item in ipairs(part) do photos[place] = item.photo end
        local todo = changes_now(plan, part, read(photos))
        if #todo == 0 then return true end
        local ok, problem = Batches.write(catalog, step, function()
            for _, one in ipairs(todo) do apply(one.photo, one.current, one.change, make, plan.removed) end
        end)
        if ok then written = written + #todo end
        return ok, problem
    end)
    return written, failure, cancelled
end

return Writing
