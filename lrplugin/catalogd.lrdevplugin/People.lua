-- Library › Plug-in Extras › People…: who catalogd sees, under which names, and their photos.

local LrApplication = import "LrApplication"
local LrDialogs = import "LrDialogs"
local LrFunctionContext = import "LrFunctionContext"

local Api = require "Api"
local Batches = require "Batches"
local Collections = require "Collections"
local Dialogs = require "Dialogs"
local PeopleDialog = require "PeopleDialog"
local Persons = require "Persons"

local function show_photos(context, catalog, person)
    local photos, missing, failure = Persons.photos(catalog, person.number)
    if not photos then return Api.report(failure) end
    if #photos == 0 then
        return Dialogs.say(LOC "$$$/Catalogd/People/NonHere=None of these photos is in this Lightroom catalog.")
    end
    local ok, problem = Collections.show(catalog, {
        sets = { "catalogd", LOC "$$$/Catalogd/People/Title=People" }, name = Persons.name(person), photos = photos,
    }, Batches.progress(context, LOC "$$$/Catalogd/Collections/Filling=catalogd fills a collection"))
    if not ok then return Batches.report(problem) end
    if missing > 0 then
        Dialogs.say(LOC("$$$/Catalogd/People/Missing=^1 more photos of this person are not in this Lightroom catalog.", Dialogs.count(missing)))
    end
end

LrFunctionContext.postAsyncTaskWithContext("catalogd people", function(context)
    LrDialogs.attachErrorDialogToFunctionContext(context)
    local people, failure = Persons.list()
    if not people then return Api.report(failure) end
    if #people == 0 then
        return Dialogs.say(LOC "$$$/Catalogd/People/None=catalogd has seen no faces yet.",
            LOC "$$$/Catalogd/People/NoneHow=They are found while photos are analyzed with a profile that has faces.")
    end
    local person = PeopleDialog.ask(context, people)
    if person then show_photos(context, LrApplication.activeCatalog(), person) end
end)
