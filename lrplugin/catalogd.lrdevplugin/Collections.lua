--[[ Photos as a collection that a person looks at. Every function must be called in a task.

    Collections.show(catalog, {sets = {"catalogd"}, name =, photos =, select = true}, progress) → true, or nil, failure
        Makes the collection, or takes the one of that name again: afterwards it holds just these photos, in
        this order (Lightroom shows it under "Custom Order"). Then the grid shows it; with `select` all of its
        photos are selected. `sets`: the collection sets from the top. A step of Undo for 200 photos, and one
        for sets that are not there yet. Cancelled, the collection holds the parts that are done.
    Collections.set(catalog, names)  → the set at the end of `names`, made where it is missing, or nil, failure
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

-- In a gate. What stands there under the name already may be of another kind; without a set of its own
-- nothing may be made, or a collection of the person's at the top would be taken for ours.
local function made(make, name)
    return make(name) or make(name .. " (catalogd)") or error("the name “" .. name .. "” is taken", 0)
end

-- By its names from the top, or nil.
local function found(catalog, names)
    local set = catalog
    for _, name in ipairs(names) do
        local below
        for _, child in ipairs(set:getChildCollectionSets()) do
            if child:getName() == name then below = child end
        end
        if not below then return nil end
        set = below
    end
    return set
end

function Collections.set(catalog, names)
    local set = found(catalog, names)
    if set then return set end
    local step = LOC("$$$/Catalogd/Collections/Set=Collection set “^1”", names[#names])
    local ok, failure = Batches.write(catalog, step, function()
        for _, name in ipairs(names) do
            local above = set
            set = made(function(text) return catalog:createCollectionSet(text, above, true) end, name)
        end
    end)
    if not ok then return nil, failure end
    return set
end

local function fill(catalog, asked, set, progress)
    local name, collection = Collections.name(asked.name), nil
    local step = LOC("$$$/Catalogd/Collections/Step=Collection “^1”", name)
    local _, failure = Batches.each(asked.photos, progress, function(part, first)
        return Batches.write(catalog, step, function()
            if first == 1 then
                collection = made(function(text) return catalog:createCollection(text, set, true) end, name)
                collection:removeAllPhotos()
            end
            collection:addPhotos(part)
        end)
    end)
    return collection, failure
end

function Collections.show(catalog, asked, progress)
    -- In a gate of its own: what was made in one may be no parent before it has ended.
    local set, trouble = Collections.set(catalog, asked.sets)
    if not set then return nil, trouble end
    local collection, failure = fill(catalog, asked, set, progress)
    if failure then return nil, failure end
    if not collection then return true end
    catalog:setActiveSources({ collection })
    LrTasks.yield() -- the grid fills before anything in it can be selected
    if asked.select then
        catalog:setSelectedPhotos(asked.photos[1], asked.photos)
        LrApplicationView.showView("grid")
    end
    return true
end

return Collections
