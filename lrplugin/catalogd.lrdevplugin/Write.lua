-- Library › Plug-in Extras › Write results to Lightroom…: what catalogd found becomes metadata, after a look at it.

local LrApplication = import "LrApplication"
local LrDialogs = import "LrDialogs"
local LrFunctionContext = import "LrFunctionContext"

local Batches = require "Batches"
local Dialogs = require "Dialogs"
local WriteDialogs = require "WriteDialogs"
local Writing = require "Writing"

local function question(count)
    return LOC("$$$/Catalogd/Write/Question=Look up results for ^1 photos?", count)
end

LrFunctionContext.postAsyncTaskWithContext("catalogd write", function(context)
    LrDialogs.attachErrorDialogToFunctionContext(context)
    local catalog = LrApplication.activeCatalog()
    local photos = Dialogs.photos_to_use(catalog, question, LOC "$$$/Catalogd/Write/Verb=Look up")
    local policy = photos and WriteDialogs.ask(context)
    if not policy then return end
    local looking = Batches.progress(context, LOC "$$$/Catalogd/Write/Looking=catalogd looks up results")
    local plan, failure, cancelled = Writing.plan(catalog, photos, looking, policy)
    looking:done()
    if failure then return Batches.report(failure) end
    if cancelled then return Dialogs.say(LOC "$$$/Catalogd/Write/Nothing=Nothing was written.") end
    if #plan.items == 0 then
        return Dialogs.say(LOC "$$$/Catalogd/Write/Same=There is nothing to write.", WriteDialogs.rest(plan))
    end
    if not WriteDialogs.is_agreed(plan) then return end
    local writing = Batches.progress(context, LOC "$$$/Catalogd/Write/Writing=catalogd writes results")
    WriteDialogs.say(plan, Writing.write(catalog, plan, writing, LOC "$$$/Catalogd/Write/Step=Write catalogd results"))
end)
