--[[ Photos as a collection that a person looks at. Every function must be called in a task.

    Collections.show(catalog, {sets = {"catalogd"}, name =, photos =, select = true}) → true, or nil, failure
        Makes the collection, or takes the one of that name again: afterwards it holds just these photos, in
        this order (Lightroom shows it under "Custom Order"). Then the grid shows it; with `select` all of its
        photos are selected. `sets`: the collection sets from the top. A step of Undo for 200 photos.
    Collections.name(text)           a name that Lightroom takes: one line, not too long
]]

local LrApplicationView = import "LrApplicationView"
local LrTasks = import "LrTasks"

local Batches = require "Batches"

local Collections = {}

local LONGEST_NAME = 80 -- bytes; what the panel shows of a name

function Collections.name(text)
    local name = text:gsub("%c+", " "):gsub("^%s+", ""):gsub("%s+$", "")
    if #name > LONGEST_NAME then
        name = name:sub(1, LONGEST_NAME):gsub("[\192-\255][\128-\191]*$", "") .. "…"
    end
    return name ~= "" and name or "catalogd"
end

-- In a gate: the set at the end of `names`, each made where it is missing.
local function set_at(catalog, names)
    local set
    for _, name in ipairs(names) do set = catalog:createCollectionSet(name, set, true) end
    return set
end

-- In a gate. A smart collection or a set may have the name already.
local function collection_in(catalog, set, name)
    return catalog:createCollection(name, set, true) or catalog:createCollection(name .. " (catalogd)", set, true)
end

function Collections.show(catalog, asked)
    local name, collection = Collections.name(asked.name), nil
    local step = LOC("$$$/Catalogd/Collections/Step=Collection “^1”", name)
    for number, part in ipairs(Batches.parts(asked.photos, Batches.SIZE)) do
        local ok, failure = Batches.write(catalog, step, function()
            if number == 1 then
                collection = collection_in(catalog, set_at(catalog, asked.sets), name)
                collection:removeAllPhotos()
            end
            collection:addPhotos(part)
        end)
        if not ok then return nil, failure end
    end
    catalog:setActiveSources({ collection })
    LrTasks.yield() -- the grid fills before anything in it can be selected
    if asked.select then
        catalog:setSelectedPhotos(asked.photos[1], asked.photos)
        LrApplicationView.showView("grid")
    end
    return true
end

return Collections
