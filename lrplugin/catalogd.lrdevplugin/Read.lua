-- Library › Plug-in Extras › Read from Lightroom…: what a person set in Lightroom outranks what files and models say.

local LrApplication = import "LrApplication"
local LrDialogs = import "LrDialogs"
local LrFunctionContext = import "LrFunctionContext"

local Batches = require "Batches"
local Preferences = require "Preferences"
local ReadDialogs = require "ReadDialogs"
local Reading = require "Reading"

-- Where the next reading goes on; only a whole one says that nothing before was left out.
local function remember(catalog, latest)
    local untils = Preferences.get("read_until")
    untils[catalog:getPath()] = latest
    Preferences.set("read_until", untils)
end

-- Whether no other Lightroom catalog was ever read: its collections must stay when this one's are told.
local function is_only_one(catalog)
    for path in pairs(Preferences.get("read_until")) do
        if path ~= catalog:getPath() then return false end
    end
    return true
end

LrFunctionContext.postAsyncTaskWithContext("catalogd read", function(context)
    LrDialogs.attachErrorDialogToFunctionContext(context)
    local catalog = LrApplication.activeCatalog()
    local selected = catalog:getTargetPhoto() and catalog:getTargetPhotos() or {}
    local asked = ReadDialogs.ask(context, #selected)
    if not asked then return end
    local progress = Batches.progress(context, LOC "$$$/Catalogd/Read/Reading=catalogd reads from Lightroom")
    local since = asked.changed and Preferences.get("read_until")[catalog:getPath()] or 0
    local listed = asked.all and catalog:getAllPhotos() or selected
    local photos, latest = Reading.edited_since(catalog, listed, since, progress)
    local collections, of_uuid = {}, {}
    if asked.collections then collections, of_uuid = Reading.collections(catalog, progress) end
    local told, failure, cancelled = Reading.send(catalog, photos, of_uuid, progress)
    if not failure and not cancelled and asked.collections then
        local _, problem = Reading.send_collections(collections, is_only_one(catalog))
        failure = problem
    end
    if failure then return Batches.report(failure, ReadDialogs.before(told)) end
    if asked.all and not cancelled then remember(catalog, latest) end
    ReadDialogs.say(told, cancelled)
end)
