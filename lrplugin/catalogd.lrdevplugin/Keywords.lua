--[[ Lightroom's keywords by their paths, "Animals|Dog". Every function must be called in a task.

    Keywords.reader()        → path(keyword): asks Lightroom for the parents of each keyword once
    Keywords.person_tester() → is_person(keyword): whether Lightroom made it for a person; asked for once each
    Keywords.maker(catalog, parent) → keyword(path), inside a write gate: finds or makes it and what is above
        it. A name that differs from a sibling's in case alone is the sibling. The keywords of `parent`
        itself are headings: they don't go into exported files.
    Keywords.unused(keywords) → sorted paths of those of `keywords` (path → LrKeyword) that no photo has
]]

local Words = require "Words"

local Keywords = {}

function Keywords.reader()
    local known = {}
    local function path(keyword)
        local id = keyword.localIdentifier
        if not known[id] then
            local parent = keyword:getParent()
            local name = keyword:getName()
            known[id] = parent and path(parent) .. "|" .. name or name
        end
        return known[id]
    end
    return path
end

function Keywords.person_tester()
    local known = {}
    return function(keyword)
        local id = keyword.localIdentifier
        if known[id] == nil then known[id] = keyword:getAttributes().keywordType == "person" end
        return known[id]
    end
end

function Keywords.maker(catalog, parent)
    local made, heading = {}, Words.fold(parent) .. "|"
    local function keyword(levels, last)
        if last == 0 then return nil end
        local path = Words.fold(table.concat(levels, "|", 1, last))
        if not made[path] then
            local is_heading = heading:sub(1, #path + 1) == path .. "|"
            local above = keyword(levels, last - 1)
            made[path] = catalog:createKeyword(levels[last], {}, not is_heading, above, true)
            if not made[path] then error("no keyword could be made for " .. table.concat(levels, "|", 1, last)) end
        end
        return made[path]
    end
    return function(path)
        local levels = Words.levels(path)
        return keyword(levels, #levels)
    end
end

function Keywords.unused(keywords)
    local unused = {}
    for path, keyword in pairs(keywords) do
        if #keyword:getPhotos() == 0 then unused[#unused + 1] = path end
    end
    table.sort(unused)
    return unused
end

return Keywords
