-- A Lightroom Classic to run the real plugin files in, under Lua 5.1: the part of its SDK that a plugin meets,
-- with the habits that break plugins.
--
-- What it is strict about:
--   every call that waits in Lightroom really yields, so a plain pcall, a sort comparator or an iterator around
--     it fails with "attempt to yield across metamethod/C-call boundary"
--   such calls need a running task; observers and buttons' actions run outside one
--   setters need a write gate; gates don't nest; a gate that is contended gives "aborted", and without a table
--     of timeouts it throws; an error inside a gate takes its changes back; a keyword or collection that was made
--     in a gate can't be read before the gate has ended, and a collection set can't get collections before;
--     nothing that waits (reads, requests, dialogs) is allowed inside a gate
--   Info.lua, the metadata provider and the tagset have LOC and little else; a dialog's properties end with its
--     context; a preference that is a table is kept when another table is assigned
--   a colour label's text is of Lightroom's language; texts are trimmed
--   rating 0, unknown raw and formatted keys, undeclared fields, unknown namespaces and functions raise
--   reads return copies; a photo, keyword or collection is the same object each time, and can be a key
--   there are no os.execute, os.getenv, io.popen, package, module, debug, loadfile, dofile, coroutine; setting a
--     global raises
--
-- Called with the functions of the Python side; gives back the table that steers it (see sdk.py).

local host = ...

local co_create, co_resume, co_status = coroutine.create, coroutine.resume, coroutine.status
local co_running, co_yield = coroutine.running, coroutine.yield
local traceback = debug.traceback

local control = {
    counts = {}, -- name of a call → how often it was made
    errors = {}, -- what tasks ended with
    dialogs = {}, -- every dialog that was shown, oldest first
    scopes = {}, -- every progress scope
    history = {}, -- undo steps: {name=, private=, changes={function}}
    log = {},
    browsed = {},
    contended = 0, -- so many of the next gates are held by somebody else
    contended_after = nil, -- … and all gates once so many were open
    cancel_at = nil, -- the progress scope is cancelled when so much is done
    now = 700000000, -- seconds since 2001-01-01
    waiting = nil, -- the modal dialog that waits for its answer
    translations = {},
    network_error_is_number = false,
    version = { major = 14, minor = 3, revision = 0, build = 1 },
    language = "en",
}

local function count(name, by)
    control.counts[name] = (control.counts[name] or 0) + (by or 1)
end

local function copy(value)
    if type(value) ~= "table" then return value end
    local made = {}
    for key, item in pairs(value) do made[key] = copy(item) end
    return made
end

local function contains(list, wanted)
    for _, item in ipairs(list) do
        if item == wanted then return true end
    end
    return false
end

local function set_of(text)
    local made = {}
    for word in text:gmatch("%S+") do made[word] = true end
    return made
end

-- ── tasks ──────────────────────────────────────────────────────────────────────────────────────

local ASKING_S = 0.01 -- how often a task looks whether its dialog was answered
local tasks, current, outside = {}, nil, 0
local gate = nil -- the write gate that is open: {kind=, changes=, fresh={}, task=}

local function in_task()
    return current ~= nil and co_running() ~= nil and outside == 0
end

local function need_task(name)
    if not in_task() then
        error("We can only wait from within a task: " .. name .. " was called outside one", 3)
    end
    if gate and gate.task == current then
        error(name .. ": nothing may wait in a write gate, which everybody else waits for", 3)
    end
end

-- What a call that reads the catalog, the disk or the network does before it answers.
local function wait(name)
    need_task(name)
    co_yield(0)
end

-- Runs what Lightroom calls outside of any task: an observer, the action of a button.
local function call_outside(f, ...)
    outside = outside + 1
    local task = co_create(f)
    local ok, message = co_resume(task, ...)
    outside = outside - 1
    if ok and co_status(task) ~= "dead" then
        ok, message = false, "Yielding is not allowed within a C or metamethod call"
    end
    if not ok then error(message, 0) end
end

local function yielding_pcall(f, ...)
    local inner = co_create(f)
    local function settle(ok, ...)
        if ok and co_status(inner) == "suspended" then return settle(co_resume(inner, co_yield(...))) end
        return ok, ...
    end
    return settle(co_resume(inner, ...))
end

local function start(f, name)
    local task = { co = co_create(f), wake = control.now, name = name or "?" }
    tasks[#tasks + 1] = task
end

-- One round of every task that is awake. Gives how many are left, and the seconds until the next wakes.
function control.step()
    local round, left = tasks, {}
    tasks = {}
    for _, task in ipairs(round) do
        if task.wake <= control.now then
            current = task
            local ok, seconds = co_resume(task.co)
            current = nil
            if not ok then
                control.errors[#control.errors + 1] = { name = task.name, message = tostring(seconds),
                                                        trace = traceback(task.co) }
            elseif co_status(task.co) ~= "dead" then
                task.wake = control.now + (seconds or 0)
                left[#left + 1] = task
            end
        else
            left[#left + 1] = task
        end
    end
    for _, task in ipairs(tasks) do left[#left + 1] = task end
    tasks = left
    local soonest
    for _, task in ipairs(tasks) do
        if not soonest or task.wake < soonest then soonest = task.wake end
    end
    return #tasks, soonest and math.max(0, soonest - control.now) or 0
end

-- A task of the plug-in's own for a test: what it returns comes into `box`.
function control.task(f, box, ...)
    local arguments, n = { ... }, select("#", ...)
    setfenv(f, control.environment)
    start(function()
        local function keep(...)
            for place = 1, select("#", ...) do box[place] = (select(place, ...)) end
            box.n = select("#", ...)
        end
        keep(f(unpack(arguments, 1, n)))
    end, "test")
end

-- Seconds until the next task wakes, without those that only wait for a dialog; nil when there is none.
function control.soonest()
    local soonest
    for _, task in ipairs(tasks) do
        if not task.asking and (not soonest or task.wake < soonest) then soonest = task.wake end
    end
    return soonest and math.max(0, soonest - control.now)
end

-- Rounds until nothing is left to do at this moment: gives what `step` gives.
function control.rounds(limit)
    local left, seconds = #tasks, 0
    for _ = 1, limit do
        if #tasks == 0 then return 0, 0 end
        left, seconds = control.step()
        if seconds > 0 or control.waiting then break end
    end
    return left, seconds
end

-- ── observable tables ──────────────────────────────────────────────────────────────────────────

local function plain_type(value)
    local kind = type(value)
    return kind == "nil" or kind == "string" or kind == "number" or kind == "boolean"
end

-- A property table; those of a dialog end with its context. With `stored`, as the preferences are: only plain
-- values are taken, and a table is written down when it is assigned: the same one again is no change.
local function observable(values, stored)
    local observers, table_, written, ended = {}, {}, {}, false
    local function need_open(key)
        if ended then error("the property table has ended with its context: " .. tostring(key), 3) end
    end
    local function check(value, depth)
        if not plain_type(value) and type(value) ~= "table" then
            error("preferences can't hold a " .. type(value), 4)
        end
        if type(value) == "table" then
            assert(depth < 20, "preferences can't hold a table that contains itself")
            for key, item in pairs(value) do check(key, depth + 1) check(item, depth + 1) end
        end
    end
    local methods = {
        addObserver = function(_, key, f)
            observers[key] = observers[key] or {}
            table.insert(observers[key], f)
        end,
        pairs = function() return pairs(copy(values)) end,
    }
    return setmetatable(table_, {
        values = values,
        finish = function() ended = true end,
        __index = function(_, key)
            if methods[key] then return methods[key] end
            need_open(key)
            if stored and type(values[key]) == "table" then
                written[key] = written[key] or copy(values[key])
                return written[key]
            end
            return values[key]
        end,
        __newindex = function(_, key, value)
            if type(key) == "string" and key:find(".", 1, true) then
                error("a dot in the name of a property is a key path: " .. key, 2)
            end
            need_open(key)
            if stored then
                check(value, 0)
                if type(value) == "table" then
                    if written[key] == value then return end
                    written[key], value = value, copy(value)
                end
            end
            if values[key] == value then return end
            values[key] = value
            for _, f in ipairs(observers[key] or {}) do call_outside(f, table_, key, value) end
        end,
    })
end

-- ── the catalog's data ─────────────────────────────────────────────────────────────────────────

local hidden = setmetatable({}, { __mode = "k" }) -- object → its data

local function data_of(object, kind)
    local data = hidden[object]
    if not data or data.kind ~= kind then error("this is no " .. kind .. ": call it with a colon", 3) end
    if data.deleted then error("this " .. kind .. " was deleted", 3) end
    return data
end

local function need_gate(name, private_too)
    if not gate or (gate.kind == "private" and not private_too) then
        error(name .. " must be called inside catalog:withWriteAccessDo", 3)
    end
    count("writes")
end

local function not_fresh(object, name)
    if gate and gate.fresh[object] then
        error(name .. ": it was made in this write gate and can't be read before the gate has ended", 3)
    end
end

local function changed(undo)
    gate.changes[#gate.changes + 1] = undo
end

local function put(data, key, value)
    local old = data[key]
    if old == value then return end
    data[key] = value
    changed(function() data[key] = old end)
end

local LrPhoto, LrKeyword, LrCollection, LrCollectionSet, LrCatalog = {}, {}, {}, {}, {}
local next_id = 100

local function class(methods, name, properties)
    return {
        __index = function(object, key)
            if methods[key] then return methods[key] end
            if properties and properties[key] then return properties[key](object) end
            error(name .. " has no " .. tostring(key), 2)
        end,
        __newindex = function() error("a " .. name .. " can't be changed", 2) end,
        __tostring = function() return name end,
    }
end

local function local_id(object) return hidden[object].id end

local catalog
local PHOTO = class(LrPhoto, "LrPhoto", { localIdentifier = local_id, catalog = function() return catalog end })
local KEYWORD = class(LrKeyword, "LrKeyword", { localIdentifier = local_id })
local COLLECTION = class(LrCollection, "LrCollection", { localIdentifier = local_id })
local COLLECTION_SET = class(LrCollectionSet, "LrCollectionSet", { localIdentifier = local_id })

local function object_of(meta, data)
    next_id = next_id + 1
    data.id = next_id
    local object = setmetatable({}, meta)
    hidden[object] = data
    return object
end

catalog = setmetatable({}, class(LrCatalog, "LrCatalog", { hasPhotos = function() return true end }))
local store = {
    photos = {}, by_uuid = {}, keywords = {}, children = {}, selected = {}, active = nil, sources = {},
    path = "/Users/ana/Pictures/Lightroom/Lightroom Catalog.lrcat",
}
local fields = {} -- declared by the metadata provider
local toolkit = "test"

-- ── photos ─────────────────────────────────────────────────────────────────────────────────────

local TEXT = set_of [[title caption headline copyName city stateProvince country isoCountryCode location label personShown
    altTextAccessibility extDescrAccessibility copyright creator jobIdentifier instructions]]
local RAW = set_of [[uuid path fileFormat isVirtualCopy isVideo rating pickStatus colorNameForLabel dateTimeOriginalISO8601
    dateTimeOriginal dateTime lastEditTime keywords gps gpsAltitude dimensions croppedDimensions width height fileSize
    aspectRatio isCropped virtualCopies masterPhoto stackInFolderIsCollapsed durationInSeconds countVirtualCopies
    editCount metadataStatus shutterSpeed aperture isoSpeedRating focalLength]]
local FORMATTED = set_of [[fileName folderName preservedFileName copyName title caption headline label rating keywordTags
    keywordTagsForExport city stateProvince country isoCountryCode location cameraModel lens dateCreated
    altTextAccessibility extDescrAccessibility personShown gps fileType dateTimeOriginal copyright creator]]
local SETTABLE = set_of [[title caption headline rating label colorNameForLabel pickStatus gps gpsAltitude city
    stateProvince country isoCountryCode location personShown altTextAccessibility extDescrAccessibility copyName
    copyright creator jobIdentifier instructions]]
local COLOURS = set_of "none red yellow green blue purple other"

local function keyword_names(data)
    local names = {}
    for keyword in pairs(data.keywords) do names[#names + 1] = hidden[keyword].name end
    table.sort(names)
    return table.concat(names, ", ")
end

local function raw_value(photo, data, key)
    if key == "keywords" then
        local found = {}
        for keyword in pairs(data.keywords) do found[#found + 1] = keyword end
        table.sort(found, function(a, b) return hidden[a].id < hidden[b].id end)
        return found
    elseif key == "masterPhoto" then
        return data.master or photo
    elseif key == "virtualCopies" then
        local found = {}
        for _, other in ipairs(store.photos) do
            if hidden[other].master == photo then found[#found + 1] = other end
        end
        return found
    elseif key == "isVirtualCopy" then
        return data.master ~= nil
    elseif key == "isVideo" then
        return data.values.fileFormat == "VIDEO"
    elseif key == "lastEditTime" then
        return data.edited
    elseif key == "pickStatus" then
        return data.values.pickStatus or 0
    elseif key == "colorNameForLabel" then
        return data.values.colorNameForLabel or "none"
    end
    return copy(data.values[key])
end

local function formatted_value(data, key)
    if key == "keywordTags" or key == "keywordTagsForExport" then return keyword_names(data) end
    if key == "fileName" then return (data.values.path:match("[^/\\]+$")) end
    if key == "folderName" then return (data.values.path:match("([^/\\]+)[/\\][^/\\]+$")) or "" end
    if key == "rating" then return data.values.rating end
    local value = data.values[key]
    return value == nil and "" or value
end

local function need_key(known, key, what)
    if type(key) ~= "string" or not known[key] then
        error("Unknown " .. what .. " key: " .. tostring(key), 3)
    end
end

function LrPhoto:getRawMetadata(key)
    wait "photo:getRawMetadata"
    local data = data_of(self, "photo")
    count "single_reads"
    if key == nil then
        local all = {}
        for name in pairs(RAW) do all[name] = raw_value(self, data, name) end
        return all
    end
    need_key(RAW, key, "raw metadata")
    return raw_value(self, data, key)
end

function LrPhoto:getFormattedMetadata(key)
    wait "photo:getFormattedMetadata"
    local data = data_of(self, "photo")
    count "single_reads"
    need_key(FORMATTED, key, "formatted metadata")
    return formatted_value(data, key)
end

-- A label is a text, which the colour follows: by the name of the colour in Lightroom's language.
local LABELS = {
    en = { red = "Red", yellow = "Yellow", green = "Green", blue = "Blue", purple = "Purple" },
    de = { red = "Rot", yellow = "Gelb", green = "Grün", blue = "Blau", purple = "Lila" },
    fr = { red = "Rouge", yellow = "Jaune", green = "Vert", blue = "Bleu", purple = "Violet" },
}

local function label_name(colour)
    return (LABELS[control.language] or LABELS.en)[colour]
end

-- As a field of the Metadata panel leaves it.
local function kept_text(key, text)
    text = text:gsub("\r\n?", "\n"):gsub("^%s+", ""):gsub("%s+$", "")
    if key ~= "caption" and not key:find("Accessibility$") then text = text:gsub("\n", " ") end
    return text
end

function LrPhoto:setRawMetadata(key, value)
    local data = data_of(self, "photo")
    need_gate("photo:setRawMetadata")
    need_key(SETTABLE, key, "settable raw metadata")
    if (key == "altTextAccessibility" or key == "extDescrAccessibility")
        and (control.version.major < 13 or (control.version.major == 13 and control.version.minor < 2)) then
        error("Unknown settable raw metadata key: " .. key, 2)
    end
    if key == "rating" then
        if value ~= nil and not (type(value) == "number" and value >= 1 and value <= 5 and value % 1 == 0) then
            error("Invalid rating: " .. tostring(value), 2)
        end
    elseif key == "pickStatus" then
        if value ~= -1 and value ~= 0 and value ~= 1 then error("Invalid pickStatus: " .. tostring(value), 2) end
    elseif key == "colorNameForLabel" then
        if not COLOURS[value] then error("Invalid colorNameForLabel: " .. tostring(value), 2) end
    elseif key == "gps" then
        if value ~= nil and not (type(value) == "table" and type(value.latitude) == "number"
            and type(value.longitude) == "number") then
            error("Invalid gps", 2)
        end
    elseif TEXT[key] and value ~= nil and type(value) ~= "string" then
        error("Invalid " .. key .. ": a " .. type(value), 2)
    end
    if TEXT[key] and value ~= nil then value = kept_text(key, value) end
    if value == "" then value = nil end
    local old = data.values[key]
    data.values[key] = copy(value)
    changed(function() data.values[key] = old end)
    if key == "colorNameForLabel" then put(data.values, "label", label_name(value)) end
    put(data, "edited", control.now)
end

function LrPhoto:addKeyword(keyword)
    local data = data_of(self, "photo")
    data_of(keyword, "keyword")
    need_gate("photo:addKeyword")
    put(data.keywords, keyword, true)
    put(data, "edited", control.now)
end

function LrPhoto:removeKeyword(keyword)
    local data = data_of(self, "photo")
    data_of(keyword, "keyword")
    need_gate("photo:removeKeyword")
    put(data.keywords, keyword, nil)
    put(data, "edited", control.now)
end

local function need_field(plugin, id)
    if plugin ~= control.plugin_object and plugin ~= toolkit then error("the plug-in must be _PLUGIN or its id", 3) end
    if not fields[id] then error("the metadata provider declares no field " .. tostring(id), 3) end
end

function LrPhoto:setPropertyForPlugin(plugin, id, value)
    local data = data_of(self, "photo")
    need_gate("photo:setPropertyForPlugin", true)
    need_field(plugin, id)
    if value ~= nil and type(value) ~= "string" then
        error("a custom field holds a string or nil, not a " .. type(value), 2)
    end
    local allowed = fields[id].values
    if value ~= nil and allowed then
        local found = false
        for _, choice in ipairs(allowed) do found = found or choice.value == value end
        if not found and not allowed.allowPluginToSetOtherValues then
            error("the field " .. id .. " has no value " .. value, 2)
        end
    end
    put(data.properties, id, value)
end

function LrPhoto:getPropertyForPlugin(plugin, id)
    wait "photo:getPropertyForPlugin"
    local data = data_of(self, "photo")
    need_field(plugin, id)
    count "single_reads"
    return data.properties[id]
end

function LrPhoto:getContainedCollections()
    wait "photo:getContainedCollections"
    data_of(self, "photo")
    local found = {}
    for _, object in ipairs(store.collections_made or {}) do
        local data = hidden[object]
        if data.kind == "collection" and not data.deleted and not data.smart and contains(data.photos, self) then
            found[#found + 1] = object
        end
    end
    return found
end

function LrPhoto:requestJpegThumbnail(_, _, callback)
    data_of(self, "photo")
    local request = {}
    start(function() callback(host.jpeg(), nil) end, "thumbnail")
    return request
end

function LrPhoto:type() return "LrPhoto" end

-- ── keywords ───────────────────────────────────────────────────────────────────────────────────

local function siblings(parent)
    return parent and hidden[parent].children or store.keywords
end

local function keyword_read(self, name)
    local data = data_of(self, "keyword")
    not_fresh(self, name)
    return data
end

function LrKeyword:getName() return keyword_read(self, "keyword:getName").name end
function LrKeyword:getParent()
    wait "keyword:getParent"
    return keyword_read(self, "keyword:getParent").parent
end
function LrKeyword:getSynonyms()
    wait "keyword:getSynonyms"
    return copy(keyword_read(self, "keyword:getSynonyms").synonyms)
end
function LrKeyword:getChildren()
    wait "keyword:getChildren"
    local found = {}
    for _, child in ipairs(keyword_read(self, "keyword:getChildren").children) do found[#found + 1] = child end
    return found
end
function LrKeyword:getAttributes()
    wait "keyword:getAttributes"
    local data = keyword_read(self, "keyword:getAttributes")
    return { keywordName = data.name, synonyms = copy(data.synonyms), includeOnExport = data.export,
             keywordType = data.person and "person" or nil }
end
function LrKeyword:setAttributes(attributes)
    local data = data_of(self, "keyword")
    need_gate("keyword:setAttributes")
    if attributes.keywordType ~= nil then error("keywordType can't be set", 2) end
    if attributes.keywordName then put(data, "name", attributes.keywordName) end
    if attributes.synonyms then put(data, "synonyms", copy(attributes.synonyms)) end
    if attributes.includeOnExport ~= nil then put(data, "export", attributes.includeOnExport) end
end
function LrKeyword:getPhotos()
    wait "keyword:getPhotos"
    keyword_read(self, "keyword:getPhotos")
    local found = {}
    for _, photo in ipairs(store.photos) do
        if hidden[photo].keywords[self] then found[#found + 1] = photo end
    end
    return found
end
function LrKeyword:type() return "LrKeyword" end

local function add_to(list, object)
    list[#list + 1] = object
end

local function remove_from(list, object)
    for place = #list, 1, -1 do
        if list[place] == object then table.remove(list, place) end
    end
end

local function new_keyword(name, synonyms, export, parent, person)
    local keyword = object_of(KEYWORD, { kind = "keyword", name = name, synonyms = copy(synonyms or {}),
                                         export = export, parent = parent, children = {}, person = person })
    add_to(siblings(parent), keyword)
    return keyword
end

function LrCatalog:createKeyword(name, synonyms, export, parent, returnExisting)
    need_gate("catalog:createKeyword")
    if type(name) ~= "string" or name == "" or name:find("[,;|]") or name:find("^%s") or name:find("%s$") then
        error("Invalid keyword name: " .. tostring(name), 2)
    end
    if type(synonyms) ~= "table" then error("createKeyword: synonyms must be a table", 2) end
    if parent ~= nil then data_of(parent, "keyword") end
    for _, keyword in ipairs(siblings(parent)) do
        if not hidden[keyword].deleted and host.lower(hidden[keyword].name) == host.lower(name) then
            if returnExisting then return keyword end
            return nil
        end
    end
    count "keywords_made"
    local keyword = new_keyword(name, synonyms, export, parent)
    gate.fresh[keyword] = true
    local list = siblings(parent)
    changed(function() remove_from(list, keyword) end)
    return keyword
end

function LrCatalog:getKeywords()
    wait "catalog:getKeywords"
    local found = {}
    for _, keyword in ipairs(store.keywords) do found[#found + 1] = keyword end
    return found
end

-- ── collections ────────────────────────────────────────────────────────────────────────────────

local function collection_data(self, name)
    local data = hidden[self]
    if not data or (data.kind ~= "collection" and data.kind ~= "set") then error("call it with a colon", 3) end
    if data.deleted then error("this collection was deleted", 3) end
    if name then not_fresh(self, name) end
    return data
end

local function both(name, f)
    LrCollection[name] = f
    LrCollectionSet[name] = f
end

both("getName", function(self) return collection_data(self, "collection:getName").name end)
both("getParent", function(self)
    wait "collection:getParent"
    return collection_data(self, "collection:getParent").parent
end)
both("setName", function(self, name)
    need_gate("collection:setName")
    put(collection_data(self), "name", name)
    return true
end)
both("delete", function(self)
    local data = collection_data(self)
    need_gate("collection:delete")
    local list = data.parent and hidden[data.parent].children or store.children
    local place
    for number, object in ipairs(list) do if object == self then place = number end end
    table.remove(list, place)
    put(data, "deleted", true)
    changed(function() table.insert(list, place, self) end)
end)

function LrCollection:type() return "LrCollection" end
function LrCollectionSet:type() return "LrCollectionSet" end

function LrCollection:getPhotos()
    wait "collection:getPhotos"
    local data, found = collection_data(self, "collection:getPhotos"), {}
    for _, photo in ipairs(data.photos) do found[#found + 1] = photo end
    return found
end
function LrCollection:isSmartCollection()
    wait "collection:isSmartCollection"
    return collection_data(self, "collection:isSmartCollection").smart ~= nil
end
function LrCollection:getSearchDescription()
    wait "collection:getSearchDescription"
    return copy(collection_data(self, "collection:getSearchDescription").smart)
end
function LrCollection:setSearchDescription(description)
    need_gate("collection:setSearchDescription")
    put(collection_data(self), "smart", copy(description))
end
function LrCollection:addPhotos(photos)
    local data = collection_data(self)
    need_gate("collection:addPhotos")
    if data.smart then error("photos can't be put into a smart collection", 2) end
    local has, list = {}, {}
    for place, photo in ipairs(data.photos) do has[photo], list[place] = true, photo end
    for _, photo in ipairs(photos) do
        data_of(photo, "photo")
        if not has[photo] then has[photo], list[#list + 1] = true, photo end
    end
    put(data, "photos", list)
end
function LrCollection:removePhotos(photos)
    local data = collection_data(self)
    need_gate("collection:removePhotos")
    local gone, list = {}, {}
    for _, photo in ipairs(photos) do data_of(photo, "photo") gone[photo] = true end
    for _, photo in ipairs(data.photos) do
        if not gone[photo] then list[#list + 1] = photo end
    end
    put(data, "photos", list)
end
function LrCollection:removeAllPhotos()
    local data = collection_data(self)
    need_gate("collection:removeAllPhotos")
    put(data, "photos", {})
end

local function children_of(object, kind)
    local found = {}
    for _, child in ipairs(object and hidden[object].children or store.children) do
        if hidden[child].kind == kind then found[#found + 1] = child end
    end
    return found
end

function LrCollectionSet:getChildCollections()
    wait "set:getChildCollections"
    collection_data(self, "set:getChildCollections")
    return children_of(self, "collection")
end
function LrCollectionSet:getChildCollectionSets()
    wait "set:getChildCollectionSets"
    collection_data(self, "set:getChildCollectionSets")
    return children_of(self, "set")
end
function LrCatalog:getChildCollections()
    wait "catalog:getChildCollections"
    return children_of(nil, "collection")
end
function LrCatalog:getChildCollectionSets()
    wait "catalog:getChildCollectionSets"
    return children_of(nil, "set")
end

local function new_collection(meta, name, parent, data)
    data.name, data.parent = name, parent
    local object = object_of(meta, data)
    local list = parent and hidden[parent].children or store.children
    add_to(list, object)
    store.collections_made = store.collections_made or {}
    add_to(store.collections_made, object)
    if gate then
        gate.fresh[object] = true
        changed(function() remove_from(list, object) data.deleted = true end)
    end
    return object
end

local function create(meta, kind, name, parent, prior, data)
    need_gate("catalog:create… (collection)")
    if type(name) ~= "string" or name == "" then error("Invalid name of a collection", 3) end
    if parent ~= nil and (hidden[parent] or {}).kind ~= "set" then error("the parent must be a collection set", 3) end
    if parent ~= nil and kind == "collection" then not_fresh(parent, "catalog:createCollection") end
    for _, child in ipairs(parent and hidden[parent].children or store.children) do
        local other = hidden[child]
        if host.lower(other.name) == host.lower(name) then
            if prior and other.kind == kind and (other.smart ~= nil) == (data.smart ~= nil) then return child end
            return nil
        end
    end
    data.kind = kind
    count "collections_made"
    return new_collection(meta, name, parent, data)
end

function LrCatalog:createCollection(name, parent, prior)
    return create(COLLECTION, "collection", name, parent, prior, { photos = {} })
end
function LrCatalog:createCollectionSet(name, parent, prior)
    return create(COLLECTION_SET, "set", name, parent, prior, { children = {} })
end

local STRING_OPERATIONS = set_of [[any all words noneOf beginsWith endsWith == != empty notEmpty]]
local OPERATIONS = set_of [[any all words noneOf beginsWith endsWith == != > < >= <= in notIn empty notEmpty isTrue
    isFalse inLast notInLast today yesterday thisWeek thisMonth thisYear isOn]]
local CRITERIA = set_of [[rating pick labelColor labelText keywords caption title metadata filename folder collection
    captureTime touchTime fileFormat hasGPSData camera lens iptc exif people city country state location creator
    all allPluginMetadata treatment cropped hasAdjustments isoSpeedRating]]

local function check_rules(rules)
    if type(rules) ~= "table" then error("Invalid search description", 3) end
    if not set_of("intersect union exclude")[rules.combine or ""] then error("Invalid combine", 3) end
    if #rules == 0 then error("a smart collection needs at least one rule", 3) end
    for _, rule in ipairs(rules) do
        if rule.combine then
            check_rules(rule)
        elseif type(rule.criteria) ~= "string" or not OPERATIONS[rule.operation or ""] then
            error("Invalid rule: " .. tostring(rule.criteria) .. " " .. tostring(rule.operation), 3)
        else
            local id = rule.criteria:match("^sdktext:" .. toolkit:gsub("%p", "%%%0") .. "%.([%w_]+)$")
            if id then
                if not fields[id] or not fields[id].searchable then error("No searchable field " .. id, 3) end
                if not STRING_OPERATIONS[rule.operation] then error("A custom field has only words", 3) end
            elseif not CRITERIA[rule.criteria] then
                error("Unknown criteria: " .. rule.criteria, 3)
            end
        end
    end
end

function LrCatalog:createSmartCollection(name, rules, parent, prior)
    check_rules(rules)
    return create(COLLECTION, "collection", name, parent, prior, { photos = {}, smart = copy(rules) })
end

-- ── the catalog ────────────────────────────────────────────────────────────────────────────────

local function list_copy(list)
    local made = {}
    for place, item in ipairs(list) do made[place] = item end
    return made
end

local function shown()
    local source = store.sources[1]
    if source and hidden[source] and hidden[source].kind == "collection" and not hidden[source].deleted then
        return hidden[source].photos
    end
    return store.photos
end

function LrCatalog:getPath() return store.path end
function LrCatalog:type() return "LrCatalog" end
function LrCatalog:getAllPhotos()
    wait "catalog:getAllPhotos"
    count "all_photos"
    return list_copy(store.photos)
end
function LrCatalog:getTargetPhoto()
    wait "catalog:getTargetPhoto"
    return store.active
end
function LrCatalog:getTargetPhotos()
    wait "catalog:getTargetPhotos"
    return list_copy(#store.selected > 0 and store.selected or shown())
end
function LrCatalog:getMultipleSelectedOrAllPhotos()
    wait "catalog:getMultipleSelectedOrAllPhotos"
    return list_copy(#store.selected > 1 and store.selected or shown())
end
function LrCatalog:setSelectedPhotos(active, photos)
    wait "catalog:setSelectedPhotos"
    data_of(active, "photo")
    local visible = {}
    for _, photo in ipairs(shown()) do visible[photo] = true end
    local list = {}
    for _, photo in ipairs(photos) do
        if visible[photo] then visible[photo], list[#list + 1] = nil, photo end
    end
    store.active, store.selected = active, list
end
function LrCatalog:getActiveSources()
    wait "catalog:getActiveSources"
    return list_copy(store.sources)
end
function LrCatalog:setActiveSources(sources)
    wait "catalog:setActiveSources"
    for _, source in ipairs(sources) do collection_data(source, "catalog:setActiveSources") end
    store.sources, store.selected, store.active = list_copy(sources), {}, nil
    return true
end
function LrCatalog:findPhotoByPath(path, sensitive)
    wait "catalog:findPhotoByPath"
    count "finds"
    if not store.by_path then
        store.by_path, store.by_folded = {}, {}
        for _, photo in ipairs(store.photos) do
            local data = hidden[photo]
            if not data.master then
                store.by_path[data.values.path] = photo
                store.by_folded[data.values.path:lower()] = photo
            end
        end
    end
    if sensitive == false then return store.by_folded[path:lower()] end
    return store.by_path[path]
end
function LrCatalog:findPhotoByUuid(uuid)
    wait "catalog:findPhotoByUuid"
    count "finds"
    return store.by_uuid[uuid]
end

local function batch(self, name, photos, keys, read)
    wait(name)
    if self ~= catalog then error("call it with a colon", 3) end
    if type(photos) ~= "table" then error(name .. ": photos must be a table", 3) end
    count "batch_reads"
    local found = {}
    for _, photo in ipairs(photos) do
        local data, values = data_of(photo, "photo"), {}
        for _, key in ipairs(keys) do values[key] = read(photo, data, key) end
        found[photo] = values
    end
    return found
end

function LrCatalog:batchGetRawMetadata(photos, keys)
    for _, key in ipairs(keys) do need_key(RAW, key, "raw metadata") end
    return batch(self, "catalog:batchGetRawMetadata", photos, keys, raw_value)
end
function LrCatalog:batchGetFormattedMetadata(photos, keys)
    for _, key in ipairs(keys) do need_key(FORMATTED, key, "formatted metadata") end
    return batch(self, "catalog:batchGetFormattedMetadata", photos, keys, function(_, data, key)
        return formatted_value(data, key)
    end)
end
function LrCatalog:batchGetPropertyForPlugin(photos, plugin, ids)
    for _, id in ipairs(ids) do need_field(plugin, id) end
    return batch(self, "catalog:batchGetPropertyForPlugin", photos, ids, function(_, data, id)
        return data.properties[id]
    end)
end
function LrCatalog:findPhotosWithProperty(plugin, id)
    wait "catalog:findPhotosWithProperty"
    if plugin ~= toolkit then error("findPhotosWithProperty wants the toolkit identifier", 2) end
    if not fields[id] then error("the metadata provider declares no field " .. tostring(id), 2) end
    local found = {}
    for _, photo in ipairs(store.photos) do
        if hidden[photo].properties[id] ~= nil then found[#found + 1] = photo end
    end
    return found
end

local function take_back(changes)
    for place = #changes, 1, -1 do changes[place]() end
end

local function open_gate(kind, name, f, timeouts)
    local call = "catalog:with" .. (kind == "private" and "Private" or "") .. "WriteAccessDo"
    if gate and gate.task == current then error("write gates don't nest: " .. call, 3) end
    need_task(call)
    if type(f) ~= "function" then error(call .. ": a function is missing", 3) end
    if timeouts ~= nil and type(timeouts) ~= "table" then error(call .. ": the timeouts are a table", 3) end
    count "gates_asked"
    local until_ = control.now + (timeouts and timeouts.timeout or 0)
    local held = control.contended > 0
    if held then control.contended = control.contended - 1 end
    held = held or (control.contended_after ~= nil and (control.counts.gates or 0) >= control.contended_after)
    while gate or held do
        if not timeouts then
            error("could not execute action " .. name .. ": blocked by another write access call, "
                .. "and no timeout parameters were provided", 3)
        end
        if control.now >= until_ then
            if timeouts.callback then timeouts.callback() end
            return "aborted"
        end
        co_yield(held and until_ - control.now or math.min(1, math.max(0.001, until_ - control.now)))
    end
    co_yield(0)
    count "gates"
    gate = { kind = kind, changes = {}, fresh = {}, task = current }
    local mine = gate
    local ok, message = yielding_pcall(f)
    gate = nil
    if not ok then
        take_back(mine.changes)
        error(message, 0)
    end
    if #mine.changes > 0 then
        count("changes", #mine.changes)
        if kind ~= "private" then
            control.history[#control.history + 1] = { name = name, changes = mine.changes }
        end
    end
    return "executed"
end

function LrCatalog:withWriteAccessDo(name, f, timeouts)
    if self ~= catalog then error("call it with a colon", 2) end
    if type(name) ~= "string" then error("withWriteAccessDo: the name of the undo step is missing", 2) end
    return open_gate("write", name, f, timeouts)
end
function LrCatalog:withPrivateWriteAccessDo(f, timeouts)
    if self ~= catalog then error("call it with a colon", 2) end
    return open_gate("private", "private", f, timeouts)
end

-- Edit › Undo.
function control.undo()
    local last = table.remove(control.history)
    if not last then return nil end
    take_back(last.changes)
    return last.name
end

-- ── dialogs and views ──────────────────────────────────────────────────────────────────────────

local BINDING = {}

local function bind(arguments)
    if type(arguments) == "string" then arguments = { key = arguments } end
    if type(arguments) ~= "table" or not (arguments.key or arguments.keys) then
        error("LrView.bind: a key is missing", 2)
    end
    return setmetatable(arguments, BINDING)
end

local KINDS = set_of [[column row view static_text edit_field push_button checkbox radio_button popup_menu combo_box
    simple_list scrolled_view group_box separator spacer picture catalog_photo slider password_field color_well
    tab_view tab_view_item]]

local VIEW = { __index = function(_, key) error("a view has no " .. tostring(key), 2) end }
local factory = setmetatable({
    control_spacing = function() return 8 end,
    dialog_spacing = function() return 12 end,
    label_spacing = function() return 4 end,
}, { __index = function(_, kind)
    if not KINDS[kind] then error("the view factory makes no " .. tostring(kind), 2) end
    return function(self, arguments)
        if type(self) ~= "table" or type(arguments or {}) ~= "table" then error("call f:" .. kind .. " with a colon", 2) end
        local children = {}
        for place, child in ipairs(arguments or {}) do
            if getmetatable(child) ~= VIEW then error("child " .. place .. " of a " .. kind .. " is no view", 2) end
            children[place] = child
        end
        return setmetatable({ kind = kind, arguments = arguments or {}, children = children }, VIEW)
    end
end })

-- A value of a view as it stands now: a binding is looked up in the property table that is nearest.
local function value_of(value, properties)
    if getmetatable(value) ~= BINDING then return value end
    local from = value.bind_to_object or properties
    if from == nil then error("bound to " .. tostring(value.key) .. ", but there is no bind_to_object", 0) end
    if value.keys then
        local values = {}
        for _, key in ipairs(value.keys) do
            if type(key) == "table" then
                values[key.key] = (key.bind_to_object or from)[key.key]
            else
                values[key] = from[key]
            end
        end
        return value.operation(nil, values, false)
    end
    local found = from[value.key]
    if value.transform then return value.transform(found, true) end
    return found
end

local function walk(view, properties, visit)
    properties = rawget(view.arguments, "bind_to_object") or properties
    visit(view, properties)
    for _, child in ipairs(view.children) do walk(child, properties, visit) end
end

local BOUND = set_of [[title value items enabled visible text tooltip fill_color width height image photo min max
    checked_value unchecked_value value_equal]]

-- The views of a dialog in order: {kind=, title=, value=, enabled=, …}, with what is bound filled in.
function control.views(dialog)
    local found = {}
    for _, root in ipairs({ dialog.contents, dialog.accessory }) do
        walk(root, nil, function(view, properties)
            local row = { kind = view.kind }
            for key in pairs(BOUND) do
                local value = value_of(view.arguments[key], properties)
                row[key] = value
                if getmetatable(view.arguments[key]) == BINDING and view.arguments[key].key then
                    row["bound_" .. key] = view.arguments[key].key
                end
            end
            row.view, row.properties = view, properties
            found[#found + 1] = row
        end)
    end
    return found
end

function control.press(row)
    if row.enabled == false then error("the button " .. tostring(row.title) .. " is disabled", 0) end
    local action = row.view.arguments.action
    if not action then error("the " .. row.kind .. " has no action", 0) end
    call_outside(action, row.view)
end

-- What a person types or chooses in a view.
function control.choose(row, value)
    local bound = row.view.arguments.value
    if getmetatable(bound) ~= BINDING then error("the value of the " .. row.kind .. " is bound to nothing", 0) end
    if row.enabled == false then error("the " .. row.kind .. " is disabled", 0) end
    local from = bound.bind_to_object or row.properties
    if bound.transform then value = bound.transform(value, false) end
    from[bound.key] = value
end

function control.set(properties, key, value)
    properties[key] = value
end

local function show(dialog)
    control.dialogs[#control.dialogs + 1] = dialog
    return dialog
end

local function ask(dialog)
    need_task("LrDialogs." .. dialog.kind)
    local task = current
    task.asking = true
    show(dialog)
    dialog.below, control.waiting = control.waiting, dialog
    while dialog.result == nil do co_yield(ASKING_S) end
    task.asking = nil
    return dialog.result
end

function control.answer(dialog, result)
    dialog.result = result
    control.waiting = dialog.below
end

local function note(kind, text, info, style)
    show({ kind = kind, text = tostring(text), info = info and tostring(info), style = style, result = "ok" })
end

local function need_text(text, name)
    if type(text) ~= "string" then error(name .. ": the text must be a string, not a " .. type(text), 3) end
end

local LrDialogs = {
    message = function(text, info, style)
        need_text(text, "LrDialogs.message")
        if info ~= nil then need_text(info, "LrDialogs.message") end
        if style ~= nil and not set_of("critical warning info")[style] then error("Invalid style " .. style, 2) end
        if in_task() then co_yield(0) end
        note("message", text, info, style)
    end,
    showBezel = function(text) need_text(text, "LrDialogs.showBezel") note("bezel", text) end,
    showError = function(text) need_text(text, "LrDialogs.showError") note("error", text) end,
    confirm = function(text, info, ok, cancel, other)
        need_text(text, "LrDialogs.confirm")
        return ask({ kind = "confirm", text = text, info = info, ok = ok, cancel = cancel, other = other })
    end,
    presentModalDialog = function(arguments)
        need_text(arguments.title, "LrDialogs.presentModalDialog")
        if getmetatable(arguments.contents) ~= VIEW then error("presentModalDialog: no contents", 2) end
        return ask({ kind = "modal", text = arguments.title, contents = arguments.contents,
                     accessory = arguments.accessoryView, ok = arguments.actionVerb,
                     cancel = arguments.cancelVerb, other = arguments.otherVerb })
    end,
    stopModalWithResult = function(view, result)
        if getmetatable(view) ~= VIEW then error("stopModalWithResult: a view is missing", 2) end
        if control.waiting then control.answer(control.waiting, result) end
    end,
    attachErrorDialogToFunctionContext = function(context)
        context:addFailureHandler(function(_, message)
            if tostring(message):find("AgErrorCanceled", 1, true) then return end
            note("error", tostring(message))
        end)
    end,
    runOpenPanel = function() return host.open_panel() end,
    runSavePanel = function() return host.open_panel() end,
}

-- ── the other namespaces ───────────────────────────────────────────────────────────────────────

local function start_in_context(name, f, ...)
    local cleanups, failures = {}, {}
    local context = {
        addCleanupHandler = function(_, handler) cleanups[#cleanups + 1] = handler end,
        addFailureHandler = function(_, handler) failures[#failures + 1] = handler end,
    }
    local results = { yielding_pcall(f, context, ...) }
    for place = #cleanups, 1, -1 do cleanups[place](results[1], results[2]) end
    if not results[1] then
        for place = #failures, 1, -1 do failures[place](false, results[2]) end
        if tostring(results[2]):find("AgErrorCanceled", 1, true) then return end
        error(tostring(results[2]) .. " (in " .. tostring(name) .. ")", 0)
    end
    return unpack(results, 2)
end

local LrTasks = {
    startAsyncTask = function(f, name) start(f, name) end,
    startAsyncTaskWithoutErrorHandler = function(f, name) start(f, name) end,
    yield = function() wait "LrTasks.yield" end,
    sleep = function(seconds)
        need_task "LrTasks.sleep"
        count "sleeps"
        co_yield(seconds)
    end,
    canYield = function() return in_task() end,
    pcall = yielding_pcall,
    execute = function(command)
        wait "LrTasks.execute"
        return host.execute(command)
    end,
}

local LrFunctionContext = {
    postAsyncTaskWithContext = function(name, f)
        start(function() start_in_context(name, f) end, name)
    end,
    callWithContext = start_in_context,
    pcallWithContext = function(name, f, ...) return yielding_pcall(start_in_context, name, f, ...) end,
}

local function http(method, url, body, headers, timeout)
    wait "LrHttp"
    count "requests"
    for _, header in ipairs(headers or {}) do
        if type(header.field) ~= "string" or type(header.value) ~= "string" then
            error("LrHttp: a header is {field=, value=}", 3)
        end
    end
    if type(url) ~= "string" then error("LrHttp: no address", 3) end
    local answer, status, found, problem = host.http(method, url, body, headers or {}, timeout or 30)
    co_yield(0)
    if answer == nil then
        if control.network_error_is_number then return nil, -1004 end
        return nil, { error = { errorCode = problem, name = problem, nativeCode = "-1004" } }
    end
    local given = { status = status }
    for field, value in pairs(found) do given[#given + 1] = { field = field, value = value } end
    return answer, given
end

local LrHttp = {
    get = function(url, headers, timeout) return http("GET", url, nil, headers, timeout) end,
    post = function(url, body, headers, method, timeout)
        if type(body) ~= "string" then error("LrHttp.post: the body must be a string", 2) end
        local typed = false
        for _, header in ipairs(headers or {}) do typed = typed or header.field:lower() == "content-type" end
        local sent = list_copy(headers or {})
        if not typed then sent[#sent + 1] = { field = "Content-Type", value = "text/plain" } end
        return http(method or "POST", url, body, sent, timeout)
    end,
    openUrlInBrowser = function(url) control.browsed[#control.browsed + 1] = url end,
}

local SCOPE = {}
SCOPE.__index = SCOPE
function SCOPE:setPortionComplete(done, total)
    self.data.done, self.data.total = done, total or 1
    if control.cancel_at and done >= control.cancel_at then self.data.cancelled = true end
end
function SCOPE:getPortionComplete() return self.data.done / self.data.total end
function SCOPE:setCaption(text)
    need_text(text, "progress:setCaption")
    self.data.captions[#self.data.captions + 1] = text
end
function SCOPE:setCancelable(can) self.data.cancelable = can end
function SCOPE:setIndeterminate() end
function SCOPE:isCanceled() return self.data.cancelled == true end
function SCOPE:cancel() self.data.cancelled = true end
function SCOPE:isDone() return self.data.finished == true end
function SCOPE:done() self.data.finished = true end

local function LrProgressScope(arguments)
    need_text(arguments.title, "LrProgressScope")
    local data = { title = arguments.title, captions = {}, done = 0, total = 1 }
    control.scopes[#control.scopes + 1] = data
    local scope = setmetatable({ data = data }, SCOPE)
    if arguments.functionContext then
        arguments.functionContext:addCleanupHandler(function() data.finished = true end)
    end
    return scope
end

local preferences = {}
local passwords = {}

local function joined(parent, child)
    local slash = control.windows and "\\" or "/"
    if parent:sub(-1) == slash then return parent .. child end
    return parent .. slash .. child
end

local LrPathUtils = {
    child = joined,
    leafName = function(path) return (path:match("[^/\\]*$")) end,
    parent = function(path) return path:match("^(.+)[/\\][^/\\]*$") end,
    extension = function(path) return path:match("%.([^./\\]*)$") or "" end,
    removeExtension = function(path) return (path:gsub("%.[^./\\]*$", "")) end,
    replaceExtension = function(path, ext) return (path:gsub("%.[^./\\]*$", "")) .. "." .. ext end,
    addExtension = function(path, ext) return path .. "." .. ext end,
    isAbsolute = function(path) return path:match("^/") ~= nil or path:match("^%a:[/\\]") ~= nil or path:match("^\\\\") ~= nil end,
    isRelative = function(path) return not (path:match("^/") or path:match("^%a:[/\\]") or path:match("^\\\\")) end,
    standardizePath = function(path) return path end,
    getStandardFilePath = function(name)
        if not set_of("home temp desktop appPrefs pictures documents appData")[name] then
            error("no standard path " .. tostring(name), 2)
        end
        return host.folder(name)
    end,
}

local LrFileUtils = {
    exists = function(path) return host.exists(path) or false end,
    readFile = function(path)
        local found = host.read_file(path)
        if found == nil then error("can't read " .. path, 2) end
        return found
    end,
    delete = function(path) return host.delete_file(path) end,
    createDirectory = function(path) return host.make_folder(path) end,
    createAllDirectories = function(path) return host.make_folder(path) end,
    isReadable = function(path) return host.is_readable(path) end,
    chooseUniqueFileName = function(path) return host.unique_name(path) end,
    fileAttributes = function(path) return { fileSize = host.size(path) } end,
}

local LrStringUtils = {
    trimWhitespace = function(text) return (text:gsub("^%s+", ""):gsub("%s+$", "")) end,
    lower = function(text) return host.lower(text) end,
    upper = function(text) return host.upper(text) end,
    numberToStringWithSeparators = function(number, digits)
        return host.grouped(number, digits or 0)
    end,
    truncate = function(text, length) return text:sub(1, length) end,
}

local function logger()
    local made = {}
    function made:enable(where)
        if type(where) ~= "table" and not set_of("print logfile")[where] then error("Invalid log action", 2) end
    end
    function made:disable() end
    function made:quick() return function() end end
    for _, level in ipairs({ "trace", "debug", "info", "warn", "error", "fatal" }) do
        made[level] = function(_, ...)
            local words = { level }
            for place = 1, select("#", ...) do words[place + 1] = tostring((select(place, ...))) end
            control.log[#control.log + 1] = table.concat(words, " ")
        end
        made[level .. "f"] = function(self, form, ...) self[level](self, form:format(...)) end
    end
    return made
end

local SDK = {
    LrTasks = LrTasks,
    LrFunctionContext = LrFunctionContext,
    LrHttp = LrHttp,
    LrDialogs = LrDialogs,
    LrPathUtils = LrPathUtils,
    LrFileUtils = LrFileUtils,
    LrStringUtils = LrStringUtils,
    LrApplication = {
        activeCatalog = function() return catalog end,
        versionTable = function() return copy(control.version) end,
        versionString = function() return "Lightroom Classic " .. control.version.major .. "." .. control.version.minor end,
    },
    LrApplicationView = {
        getCurrentModuleName = function() return "library" end,
        switchToModule = function() end,
        showView = function(view)
            if not set_of("loupe grid compare survey people")[view] then error("no view " .. tostring(view), 2) end
            control.view = view
        end,
    },
    LrView = {
        osFactory = function() return factory end,
        bind = bind,
        share = function(name) return name end,
        conditionalItem = function(value, item) if value then return item end end,
    },
    LrBinding = {
        makePropertyTable = function(context)
            if type(context) ~= "table" or not context.addCleanupHandler then
                error("makePropertyTable: a function context is missing", 2)
            end
            local properties = observable({})
            context:addCleanupHandler(getmetatable(properties).finish)
            return properties
        end,
        negativeOfKey = function(key, object)
            return bind { key = key, bind_to_object = object, transform = function(value) return not value end }
        end,
        keyIsNotNil = function(key, object)
            return bind { key = key, bind_to_object = object, transform = function(value) return value ~= nil end }
        end,
        keyEquals = function(key, wanted, object)
            return bind { key = key, bind_to_object = object, transform = function(value) return value == wanted end }
        end,
    },
    LrPrefs = { prefsForPlugin = function() return control.prefs end },
    LrPasswords = {
        store = function(key, value)
            need_text(key, "LrPasswords.store") need_text(value, "LrPasswords.store")
            passwords[key] = value
        end,
        retrieve = function(key) return passwords[key] end,
    },
    LrShell = {
        revealInShell = function(path) control.browsed[#control.browsed + 1] = path end,
        openFilesInApp = function(files) control.browsed[#control.browsed + 1] = files[1] end,
    },
    LrDate = {
        currentTime = function() return control.now end,
        timeToPosixDate = function(time) return time + 978307200 end,
        timeFromPosixDate = function(time) return time - 978307200 end,
        timeToW3CDate = function(time) return host.w3c(time + 978307200) end,
        timeToUserFormat = function(time, form) return host.user_date(time + 978307200, form) end,
        timeToIsoDate = function(time) return (host.w3c(time + 978307200):sub(1, 10)) end,
    },
    LrLocalization = { currentLanguage = function() return control.language end },
    LrSystemInfo = { osVersion = function() return "test" end, summaryString = function() return "test" end },
    LrErrors = {
        throwUserError = function(text) error(text, 0) end,
        throwCanceled = function() error("AgErrorCanceled", 0) end,
        isCanceledError = function(message) return tostring(message):find("AgErrorCanceled", 1, true) ~= nil end,
    },
    LrUUID = { generateUUID = function() return host.uuid() end },
}
for name, functions in pairs(SDK) do
    setmetatable(functions, {
        __index = function(_, key) error(name .. " has no function " .. tostring(key), 2) end,
    })
end
SDK.LrProgressScope = LrProgressScope
SDK.LrLogger = logger
SDK.LrColor = function(...) return { ... } end
SDK.LrMD5 = { digest = function(text) return host.md5(text) end }

control.prefs = observable(preferences, true)
control.preferences, control.passwords = preferences, passwords

-- ── localisation and the plug-in's own environment ─────────────────────────────────────────────

local function localised(text, ...)
    if type(text) ~= "string" then error("LOC: a string is missing", 2) end
    local key, english = text:match("^(%$%$%$/[^=]+)=(.*)$")
    if not key then error("LOC: not of the form $$$/Key=Text: " .. text, 2) end
    local arguments = { ... }
    return ((control.translations[key] or english):gsub("%^(.)", function(mark)
        if mark == "n" then return "\n" end
        if mark == "r" then return "\r" end
        local number = tonumber(mark)
        if number then
            if arguments[number] == nil then error("LOC: no argument ^" .. mark .. " for " .. key, 0) end
            return tostring(arguments[number])
        end
        return mark
    end))
end

local function sandbox(names)
    local environment = {}
    for name in names:gmatch("%S+") do environment[name] = _G[name] end
    environment.string, environment.table, environment.math = copy(string), copy(table), copy(math)
    environment.os = { date = os.date, time = os.time, clock = os.clock, difftime = os.difftime,
                       remove = os.remove, rename = os.rename }
    environment.io = { open = io.open, lines = io.lines }
    environment.LOC = localised
    environment.WIN_ENV, environment.MAC_ENV = control.windows == true, control.windows ~= true
    environment._G = environment
    return environment
end

local LUA = [[assert error ipairs next pairs pcall print rawequal rawget rawset select setmetatable getmetatable
    tonumber tostring type unpack xpcall loadstring setfenv getfenv]]
local loaded = {}
local environment

local function chunk(name, inside)
    local source = host.plugin_file(name)
    if source == nil then error("the plug-in has no file " .. name, 3) end
    local f, message = loadstring(source, "@" .. name)
    if not f then error(message, 0) end
    return setfenv(f, inside)
end

-- Starts Lightroom: reads Info.lua in its small environment, then the metadata provider, then Init.lua.
function control.open(windows)
    control.windows = windows
    local small = sandbox("tostring tonumber type pairs ipairs")
    small.io, small.os = nil, nil
    local info = chunk("Info.lua", small)()
    control.info = info
    toolkit = info.LrToolkitIdentifier
    control.plugin_object = { id = toolkit, path = host.folder("plugin"), enabled = true }
    environment = sandbox(LUA)
    control.environment = environment
    environment._PLUGIN = control.plugin_object
    environment.import = function(name)
        return SDK[name] or error("Lightroom has no namespace " .. tostring(name), 2)
    end
    environment.require = function(name)
        name = name:gsub("%.lua$", "")
        if loaded[name] == nil then
            loaded[name] = chunk(name .. ".lua", environment)() or true
        end
        return loaded[name]
    end
    setmetatable(environment, {
        __index = function(_, name) error("there is no global " .. tostring(name), 2) end,
        __newindex = function(_, name) error("a global is set: " .. tostring(name), 2) end,
    })
    if info.LrMetadataProvider then
        local provider = chunk(info.LrMetadataProvider, small)()
        control.provider = provider
        for _, field in ipairs(provider.metadataFieldsForPhotos) do
            if type(field.id) ~= "string" or not field.id:find("^%a[%w_]*$") then
                error("Invalid id of a field: " .. tostring(field.id), 0)
            end
            if field.dataType == "enum" and type(field.values) ~= "table" then error("an enum needs values", 0) end
            fields[field.id] = field
        end
    end
    local tagsets = info.LrMetadataTagsetFactory
    for _, name in ipairs(type(tagsets) == "table" and tagsets or { tagsets }) do chunk(name, small)() end
    if info.LrInitPlugin then
        outside = outside + 1
        chunk(info.LrInitPlugin, environment)()
        outside = outside - 1
    end
end

-- A menu item: its file is run afresh, outside of any task.
function control.menu(name)
    outside = outside + 1
    local ok, message = pcall(chunk(name, environment))
    outside = outside - 1
    if not ok then error(message, 0) end
end

function control.require(name) return environment.require(name) end

-- The plug-in manager's sections, as one dialog: `close` is called when it is closed.
function control.settings()
    local provider = environment.require((control.info.LrPluginInfoProvider:gsub("%.lua$", "")))
    local properties = observable({})
    if provider.startDialog then provider.startDialog(properties) end
    local children = {}
    for _, name in ipairs({ "sectionsForTopOfDialog", "sectionsForBottomOfDialog" }) do
        for _, section in ipairs(provider[name] and provider[name](factory, properties) or {}) do
            if section.synopsis then value_of(section.synopsis, section.bind_to_object or properties) end
            section.bind_to_object = section.bind_to_object or properties
            children[#children + 1] = factory:group_box(section)
        end
    end
    local dialog = { kind = "settings", text = "settings", contents = factory:column(children) }
    return dialog, properties, function() if provider.endDialog then provider.endDialog(properties) end end
end

-- ── what tests fill in and look at ─────────────────────────────────────────────────────────────

-- `values`: the raw metadata; `master`: the photo of which this is a virtual copy.
function control.add_photo(values, master)
    local data = { kind = "photo", values = values, keywords = {}, properties = {}, master = master,
                   edited = values.lastEditTime or control.now - 1000 }
    local photo = object_of(PHOTO, data)
    store.photos[#store.photos + 1] = photo
    store.by_uuid[values.uuid] = photo
    store.by_path = nil
    return photo
end

-- `path`: the keyword's names from its root.
function control.add_keyword(path, synonyms, person)
    local parent
    for place, name in ipairs(path) do
        local found
        for _, keyword in ipairs(siblings(parent)) do
            if hidden[keyword].name == name then found = keyword end
        end
        local last = place == #path
        parent = found or new_keyword(name, last and synonyms or {}, true, parent, last and person)
    end
    return parent
end

function control.tag(photo, keyword) hidden[photo].keywords[keyword] = true end

function control.add_collection(path, photos, rules)
    local parent
    for place = 1, #path - 1 do
        local found
        for _, child in ipairs(children_of(parent, "set")) do
            if hidden[child].name == path[place] then found = child end
        end
        parent = found or new_collection(COLLECTION_SET, path[place], parent, { kind = "set", children = {} })
    end
    return new_collection(COLLECTION, path[#path], parent, { kind = "collection", photos = photos, smart = rules })
end

-- A person's edit in Lightroom itself.
function control.edit(photo, key, value)
    local data = hidden[photo]
    data.values[key] = value
    data.edited = control.now
end

function control.open_catalog(path) store.path = path end
function control.select(photos) store.selected, store.active = photos, photos[1] end
function control.selected() return list_copy(store.selected) end
function control.show_source(source) store.sources = { source } end
function control.source_names()
    local names = {}
    for place, source in ipairs(store.sources) do names[place] = hidden[source].name end
    return names
end

function control.photo_data(photo)
    local data, keywords = hidden[photo], {}
    for keyword in pairs(data.keywords) do
        local names, at = {}, keyword
        while at do
            table.insert(names, 1, hidden[at].name)
            at = hidden[at].parent
        end
        keywords[#keywords + 1] = table.concat(names, "|")
    end
    table.sort(keywords)
    return { values = data.values, keywords = keywords, properties = data.properties,
             master = data.master and hidden[data.master].values.uuid }
end

local function keyword_tree(list)
    local made = {}
    for _, keyword in ipairs(list) do
        local data = hidden[keyword]
        made[data.name] = keyword_tree(data.children)
    end
    return made
end

local function collection_tree(list)
    local made = {}
    for _, object in ipairs(list) do
        local data = hidden[object]
        if data.kind == "set" then
            made[data.name] = { set = collection_tree(data.children) }
        else
            local uuids = {}
            for place, photo in ipairs(data.photos) do uuids[place] = hidden[photo].values.uuid end
            made[data.name] = { photos = uuids, smart = data.smart }
        end
    end
    return made
end

function control.keyword_tree() return keyword_tree(store.keywords) end
function control.collection_tree() return collection_tree(store.children) end

control.catalog = catalog
return control
