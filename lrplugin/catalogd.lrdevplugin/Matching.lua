--[[ catalogd's photos as Lightroom's. Every function must be called in a task.

    Matching.photos(catalog, hits) → photos, missing, or nil, nil, failure
        `hits`: an array of tables with `path` and `photo_id`, as the API has them. `photos`: Lightroom's, in the
        same order; `missing`: how many of them this Lightroom catalog does not hold.
    Matching.lookup(catalog, photos, fields, progress) → {photo → row}, or nil, failure, cancelled
        What catalogd knows of Lightroom's photos: rows of /photos/lookup, one request for 200 photos.
        A virtual copy gets the row of its file. `progress` may be nil, for few photos.
]]

local Api = require "Api"
local Batches = require "Batches"
local Paths = require "Paths"
local Preferences = require "Preferences"

local Matching = {}

local FEW = 200 -- so many photos are looked for one by one; for more, every path of the catalog is read at once

-- Every master's path: {path → photo}, with the path as it is and in small letters.
local function path_index(catalog)
    local photos = catalog:getAllPhotos()
    local exact, folded = {}, {}
    for photo, values in pairs(catalog:batchGetRawMetadata(photos, { "path", "isVirtualCopy" })) do
        if not values.isVirtualCopy then
            exact[values.path] = photo
            folded[values.path:lower()] = photo
        end
    end
    return { exact = exact, folded = folded }
end

local function direct(catalog, index, path)
    if index then return index.exact[path] or index.folded[path:lower()] end
    return catalog:findPhotoByPath(path) or catalog:findPhotoByPath(path, false)
end

local function row_of(paths, fields)
    return Api.call("lookup", { body = { paths = paths, fields = fields } })
end

-- Those whose name may only be spelled in another way: {skeleton → {path …}} of the whole catalog.
local function skeletons(index)
    local found = {}
    for path in pairs(index.exact) do
        if path:find("[\128-\255]") then
            local key = Paths.skeleton(path)
            found[key] = found[key] or {}
            table.insert(found[key], path)
        end
    end
    return found
end

-- {photo_id → photo} of the hits at `wanted` that Lightroom spells differently; catalogd says which they are.
local function respelled(wanted, index, map)
    local by_skeleton, paths = skeletons(index), {}
    for _, path in ipairs(wanted) do
        for _, other in ipairs(by_skeleton[Paths.skeleton(path)] or {}) do paths[#paths + 1] = other end
    end
    local found = {}
    for _, part in ipairs(Batches.parts(paths, Batches.SIZE)) do
        local asked = {}
        for place, path in ipairs(part) do asked[place] = Paths.to_daemon(path, map) end
        local answer, failure = row_of(asked, { "summary" })
        if not answer then return nil, failure end
        for place, row in ipairs(answer.photos) do
            if row.photo_id then found[row.photo_id] = index.exact[part[place]] end
        end
    end
    return found
end

function Matching.photos(catalog, hits)
    local map = Preferences.path_map()
    local index = #hits > FEW and path_index(catalog) or nil
    local found, unknown = {}, {}
    for place, hit in ipairs(hits) do
        local path = Paths.to_lightroom(hit.path, map, WIN_ENV)
        found[place] = direct(catalog, index, path) or false
        if not found[place] and path:find("[\128-\255]") then unknown[#unknown + 1] = path end
    end
    local other = {}
    if #unknown > 0 then
        local failure
        other, failure = respelled(unknown, index or path_index(catalog), map)
        if not other then return nil, nil, failure end
    end
    local photos, missing, seen = {}, 0, {}
    for place, hit in ipairs(hits) do
        local photo = found[place] or other[hit.photo_id]
        if not photo then
            missing = missing + 1
        elseif not seen[photo] then
            seen[photo], photos[#photos + 1] = true, photo
        end
    end
    return photos, missing
end

local function no_progress()
    return { isCanceled = function() return false end, setPortionComplete = function() end }
end

function Matching.lookup(catalog, photos, fields, progress)
    local map, rows = Preferences.path_map(), {}
    progress = progress or no_progress()
    local _, failure, cancelled = Batches.each(photos, progress, function(part)
        local values, asked = catalog:batchGetRawMetadata(part, { "path" }), {}
        for place, photo in ipairs(part) do asked[place] = Paths.to_daemon(values[photo].path, map) end
        local answer, problem = row_of(asked, fields)
        if not answer then return nil, problem end
        for place, row in ipairs(answer.photos) do rows[part[place]] = row end
        return true
    end)
    cancelled = cancelled or progress:isCanceled() -- in the last part, too: what follows would ask or write
    if failure or cancelled then return nil, failure, cancelled end
    return rows
end

return Matching
