-- Runs when Lightroom loads the plug-in: lets the log be written, Documents/LrClassicLogs/catalogd.log.

local LrLogger = import "LrLogger"

LrLogger("catalogd"):enable("logfile")
