--[[ What the plug-in remembers: Lightroom's preferences, the token, and what `catalogd lightroom install` left.

    Preferences.get(name) / Preferences.set(name, value)    one of DEFAULTS; tables are copied
    Preferences.address(typed)  "http://127.0.0.1:8766": typed in the settings, else Local.lua's, else the default;
                                `typed` instead of what was kept
    Preferences.token()         from the password store, else from the token file on this machine, else nil
    Preferences.file_token()    from that file alone: nil where there is none, or where it can't be read
    Preferences.set_token(text) an empty text forgets it
    Preferences.path_map()      pairs of {lightroom =, daemon =}, for Paths
]]

local LrFileUtils = import "LrFileUtils"
local LrPasswords = import "LrPasswords"
local LrPathUtils = import "LrPathUtils"
local LrPrefs = import "LrPrefs"
local LrTasks = import "LrTasks"

local Paths = require "Paths"

local Preferences = {}

local DEFAULT_ADDRESS = "http://127.0.0.1:8766"
local TOKEN_KEY = "catalogd api token"
local LOCAL_FILE = "Local.lua"

Preferences.DEFAULTS = {
    address = "", -- of the API; empty: as installed
    path_map = "", -- lines of "Lightroom's folder = catalogd's folder"
    keyword_parent = "catalogd", -- everything that is written as a keyword stands below it
    people_parent = "People", -- below keyword_parent
    include_copies = false, -- virtual copies get results too
    write_fields = {}, -- {name of a field → whether it is written}, as chosen last; of Changes.FIELDS
    read_changed = false, -- only photos edited since the last reading are read: quick, but not every edit may count
    read_until = {}, -- {path of a Lightroom catalog → the latest edit that was read from it}
    search_limit = 200, -- photos in the collection of a search
    select_in_grid = true,
    recent_queries = {}, -- newest first
}

-- Lightroom keeps a table only when another one takes its place.
local function copied(value)
    if type(value) ~= "table" then return value end
    local copy = {}
    for key, item in pairs(value) do copy[key] = copied(item) end
    return copy
end

function Preferences.get(name)
    local default = Preferences.DEFAULTS[name]
    assert(default ~= nil, "no preference " .. tostring(name))
    local value = LrPrefs.prefsForPlugin()[name]
    if type(value) ~= type(default) then value = default end
    return copied(value)
end

function Preferences.set(name, value)
    assert(type(value) == type(Preferences.DEFAULTS[name]), "a wrong value of " .. tostring(name))
    LrPrefs.prefsForPlugin()[name] = copied(value)
end

-- {address =, token_file =} when the daemon is on this machine and installed the plug-in; else empty.
local function installed()
    if not LrFileUtils.exists(LrPathUtils.child(_PLUGIN.path, LOCAL_FILE)) then return {} end
    return require "Local"
end

-- As typed, made an address: `localhost` may mean ::1, where the daemon doesn't listen.
local function cleaned(address)
    address = address:gsub("%s+", ""):gsub("/+$", ""):gsub("/api/v1$", ""):gsub("/+$", "")
    if not address:find("^%a+://") then address = "http://" .. address end
    return (address:gsub("^(%a+://)[Ll][Oo][Cc][Aa][Ll][Hh][Oo][Ss][Tt]%f[:/%z]", "%1127.0.0.1"))
end

function Preferences.address(typed)
    typed = (typed or Preferences.get("address")):gsub("%s+", "")
    if typed ~= "" then return cleaned(typed) end
    return cleaned(installed().address or DEFAULT_ADDRESS)
end

function Preferences.file_token()
    local file = installed().token_file
    if not file or not LrFileUtils.isReadable(file) then return nil end
    local ok, text = LrTasks.pcall(LrFileUtils.readFile, file)
    return ok and type(text) == "string" and text:match("%S+") or nil
end

function Preferences.token()
    local stored = LrPasswords.retrieve(TOKEN_KEY)
    if stored and stored ~= "" then return stored end
    return Preferences.file_token()
end

function Preferences.set_token(token)
    LrPasswords.store(TOKEN_KEY, (token:gsub("%s+", "")))
end

function Preferences.has_stored_token()
    return (LrPasswords.retrieve(TOKEN_KEY) or "") ~= ""
end

function Preferences.path_map()
    return (Paths.parse(Preferences.get("path_map")))
end

return Preferences
