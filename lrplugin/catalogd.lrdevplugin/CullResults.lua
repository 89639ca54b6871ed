--[[ What becomes of culling in Lightroom. Every function must be called in a task.

    CullResults.collect(context, catalog, groups, day) → true, or nil, failure
        "Picks", "Alternates" and "Protected brackets" in a collection set of the day.
    CullResults.mark(context, catalog, groups, asked) → how many photos got a flag or a label, failure
        By the rules of Changes.lua: only where there is none, and it can be taken back.
]]

local Batches = require "Batches"
local Collections = require "Collections"
local Moments = require "Moments"
local Writing = require "Writing"

local CullResults = {}

-- The picks last: they are what the grid shows then.
function CullResults.collect(context, catalog, groups, day)
    local names = { { "protected", LOC "$$$/Catalogd/Cull/Protected=Protected brackets" },
                    { "alternate", LOC "$$$/Catalogd/Cull/Alternates=Alternates" },
                    { "pick", LOC "$$$/Catalogd/Cull/Picks=Picks" } }
    local sets = { "catalogd", Collections.name(LOC("$$$/Catalogd/Cull/Set=Cull ^1", day)) }
    for _, row in ipairs(names) do
        local photos = groups[row[1]]
        local progress = Batches.progress(context, LOC "$$$/Catalogd/Collections/Filling=catalogd fills a collection")
        if #photos > 0 then
            local ok, failure = Collections.show(catalog, { sets = sets, name = row[2], photos = photos }, progress)
            if not ok then return nil, failure end
        end
        progress:done()
    end
    return true
end

function CullResults.mark(context, catalog, groups, asked)
    local items = Moments.results(groups, asked)
    if #items == 0 then return 0 end
    local policy = { fields = { pick = asked.flags, label = asked.labels }, parent = "" }
    local progress = Batches.progress(context, LOC "$$$/Catalogd/Cull/Marking=catalogd sets flags and labels")
    return Writing.write(catalog, { items = items, policy = policy, removed = {} }, progress, LOC "$$$/Catalogd/Cull/Step=Flags and labels of Cull")
end

return CullResults
