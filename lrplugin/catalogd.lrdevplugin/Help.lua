-- Help › Plug-in Extras › catalogd Help: how to begin, in a few lines.

local LrFunctionContext = import "LrFunctionContext"

local Dialogs = require "Dialogs"

LrFunctionContext.postAsyncTaskWithContext("catalogd help", function()
    Dialogs.say(LOC "$$$/Catalogd/Help/Title=catalogd: search your photos by what they show", table.concat({
        LOC "$$$/Catalogd/Help/Start=1. catalogd must be running: catalogd run ~/Pictures, in a terminal, with your folder of photos.",
        LOC "$$$/Catalogd/Help/Connect=2. File > Plug-in Manager > catalogd > Test connection says whether Lightroom reaches it.",
        LOC "$$$/Catalogd/Help/Menu=3. Library > Plug-in Extras holds the commands. Each step can be undone by Edit > Undo, and what was written by Take back what catalogd wrote.",
        LOC "$$$/Catalogd/Help/Query=Queries: dog on a beach; camera:nikon rating:>=4; date:2023; person:Anna; -blurry. More: catalogd query --help, and docs/query.md; this plug-in: docs/lightroom.md.",
    }, "\n\n"))
end)
