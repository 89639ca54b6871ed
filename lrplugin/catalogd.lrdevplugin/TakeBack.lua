-- Library › Plug-in Extras › Take back what catalogd wrote…: what nobody changed since goes, and nothing else.

local LrApplication = import "LrApplication"
local LrDialogs = import "LrDialogs"
local LrFunctionContext = import "LrFunctionContext"

local Batches = require "Batches"
local TakeBackDialogs = require "TakeBackDialogs"
local Writing = require "Writing"

LrFunctionContext.postAsyncTaskWithContext("catalogd take back", function(context)
    LrDialogs.attachErrorDialogToFunctionContext(context)
    local catalog = LrApplication.activeCatalog()
    local photos = TakeBackDialogs.ask(catalog)
    if not photos then return end
    local looking = Batches.progress(context, LOC "$$$/Catalogd/TakeBack/Looking=catalogd looks for what it wrote")
    local plan, failure, cancelled = Writing.plan_back(catalog, photos, looking)
    looking:done()
    if failure then return Batches.report(failure) end
    if cancelled or not TakeBackDialogs.is_agreed(plan) then return end
    local progress = Batches.progress(context, LOC "$$$/Catalogd/TakeBack/Taking=catalogd takes back what it wrote")
    TakeBackDialogs.say(plan, Writing.write(catalog, plan, progress, LOC "$$$/Catalogd/TakeBack/Step=Take back catalogd results"))
end)
