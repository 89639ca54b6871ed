--[[ Lightroom's catalog for catalogd: photos, a part at a time, and collections. Every function must be called
     in a task.

    Reading.collections(catalog, progress) → array of {name = "Set/Name", kind =, uuids =},
        {uuid → names of its collections}
        Without the set that catalogd makes itself. A smart collection is read as the photos that it has now: its
        rules are for Lightroom (`catalogd import lightroom` translates them).
    Reading.send(catalog, photos, of_uuid, progress) → told, failure, cancelled
        told = {read =, taken =, unchanged =, waiting =, refused = array, videos =}
    Reading.send_collections(collections, complete) → true, or nil, failure    `complete`: those that are not among
        them are no more
    Reading.edited_since(catalog, photos, since, progress) → photos, latest: those edited at `since` or after, and
        the time of the latest edit of all; all photos when `since` is 0
  A cancelled progress ends each of them early: Reading.send says so then.
]]

local Api = require "Api"
local Batches = require "Batches"
local Json = require "Json"
local Keywords = require "Keywords"
local Paths = require "Paths"
local Photos = require "Photos"
local Preferences = require "Preferences"
local UserPhotos = require "UserPhotos"

local Reading = {}

local SOURCE = { source = "lightroom" }
local MOST_COLLECTIONS = 2000 -- the API takes so many at once
local MOST_TIMES = 5000 -- photos whose time of edit is read at once: a single number each
local OURS = "catalogd" -- the collection set of searches and culling

-- ── collections ──────────────────────────────────────────────────────────────────────────────────

local function path_name(above, collection)
    local name = collection:getName():gsub("/", "-")
    return above and above .. "/" .. name or name
end

local function uuids_of(catalog, photos)
    local values, uuids = catalog:batchGetRawMetadata(photos, { "uuid" }), Json.array({})
    for place, photo in ipairs(photos) do uuids[place] = values[photo].uuid end
    return uuids
end

local function collection_row(catalog, collection, above)
    local photos, is_smart = collection:getPhotos(), collection:isSmartCollection()
    return { name = path_name(above, collection), kind = is_smart and "smart" or "collection",
             uuids = uuids_of(catalog, photos) }
end

local function walk(catalog, parent, above, rows, progress)
    for _, collection in ipairs(parent:getChildCollections()) do
        if progress:isCanceled() then return end
        rows[#rows + 1] = collection_row(catalog, collection, above)
    end
    for _, set in ipairs(parent:getChildCollectionSets()) do
        local name = path_name(above, set)
        if name ~= OURS and name ~= OURS .. " (catalogd)" then
            rows[#rows + 1] = { name = name, kind = "set", uuids = Json.array({}) }
            walk(catalog, set, name, rows, progress)
        end
    end
end

function Reading.collections(catalog, progress)
    local rows, of_uuid = {}, {}
    progress:setCaption(LOC "$$$/Catalogd/Read/CollectionsNow=Collections")
    walk(catalog, catalog, nil, rows, progress)
    progress:setCaption("")
    for _, row in ipairs(rows) do
        for _, uuid in ipairs(row.kind == "collection" and row.uuids or {}) do
            of_uuid[uuid] = of_uuid[uuid] or {}
            table.insert(of_uuid[uuid], row.name)
        end
    end
    return rows, of_uuid
end

-- Only what is sent at once can be said to be all; of more, those that are gone stay until the next import.
function Reading.send_collections(collections, complete)
    local parts = Batches.parts(collections, MOST_COLLECTIONS)
    if #parts == 0 then parts = { {} } end
    for _, part in ipairs(parts) do
        local answer, failure = Api.call("give_collections", {
            path = SOURCE, timeout = 120,
            body = { collections = Json.array(part), complete = complete and #parts == 1 },
        })
        if not answer then return nil, failure end
    end
    return true
end

-- ── photos ───────────────────────────────────────────────────────────────────────────────────────

function Reading.edited_since(catalog, photos, since, progress)
    local edited, latest = {}, since
    for _, part in ipairs(Batches.parts(photos, MOST_TIMES)) do
        if progress:isCanceled() then break end
        local values = catalog:batchGetRawMetadata(part, { "lastEditTime" })
        for _, photo in ipairs(part) do
            local time = values[photo].lastEditTime or math.huge
            if time >= since then edited[#edited + 1] = photo end
            if time ~= math.huge then latest = math.max(latest, time) end
        end
    end
    return edited, latest
end

-- {copy → uuid of its master} of the virtual copies in a part.
local function masters(catalog, part, currents)
    local copies, found, all = {}, {}, {}
    for _, photo in ipairs(part) do
        if currents[photo].is_copy then copies[#copies + 1] = photo end
    end
    if #copies == 0 then return found end
    local values = catalog:batchGetRawMetadata(copies, { "masterPhoto" })
    for _, copy in ipairs(copies) do all[#all + 1] = values[copy].masterPhoto end
    local uuids = catalog:batchGetRawMetadata(all, { "uuid" })
    for _, copy in ipairs(copies) do found[copy] = uuids[values[copy].masterPhoto].uuid end
    return found
end

local function user_photos(catalog, part, currents, told, context)
    local of_master, rows = masters(catalog, part, currents), Json.array({})
    for _, photo in ipairs(part) do
        local current = currents[photo]
        if current.is_video then
            told.videos = told.videos + 1
        else
            rows[#rows + 1] = UserPhotos.of(current, {
                path = Paths.to_daemon(current.path, context.map), master_uuid = of_master[photo],
                collections = context.of_uuid[current.uuid] or {}, is_person = context.is_person,
            })
        end
    end
    return rows
end

local function add(told, answer, count)
    told.read = told.read + count
    for _, name in ipairs({ "taken", "unchanged", "waiting" }) do told[name] = told[name] + (answer[name] or 0) end
    for _, one in ipairs(answer.refused or {}) do told.refused[#told.refused + 1] = one end
end

function Reading.send(catalog, photos, of_uuid, progress)
    local told = { read = 0, taken = 0, unchanged = 0, waiting = 0, refused = {}, videos = 0 }
    local read = Photos.reader(catalog)
    local context = { map = Preferences.path_map(), of_uuid = of_uuid, is_person = Keywords.person_tester() }
    local _, failure, cancelled = Batches.each(photos, progress, function(part)
        local rows = user_photos(catalog, part, read(part), told, context)
        if #rows == 0 then return true end
        local answer, problem = Api.call("give_photos", { path = SOURCE, body = { photos = rows } })
        if not answer then return nil, problem end
        add(told, answer, #rows)
        return true
    end)
    return told, failure, cancelled
end

return Reading
