-- Runs when Lightroom loads the plug-in.

local Log = require "Log"

Log.start()
