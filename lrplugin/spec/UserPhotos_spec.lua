package.path = "catalogd.lrdevplugin/?.lua;" .. package.path

local UserPhotos = require "UserPhotos"

local function given(values, more)
    local current = { uuid = "U", path = "/a.jpg", keywords = {}, keyword_objects = {}, people = {}, written = {} }
    for key, value in pairs(values) do current[key] = value end
    for place, path in ipairs(current.keywords) do current.keyword_objects[place] = path end
    local extra = { path = "/d/a.jpg", collections = {}, is_person = function(keyword) return keyword:find("^Who|") ~= nil end }
    for key, value in pairs(more or {}) do extra[key] = value end
    return UserPhotos.of(current, extra)
end

describe("what a person set", function()
    it("is given whole", function()
        local photo = given({ rating = 4, pickStatus = -1, colorNameForLabel = "green", label = "Grün", title = "T",
                              caption = "C", gps = { latitude = 1.5, longitude = -2 }, city = "Bergen",
                              stateProvince = "Vestland", country = "Norway", location = "Quay", edited_at = 0,
                              keywords = { "Animals|Dog", "plain", "Who|Ana" }, people = { "Bo", "Ana" }, personShown = "Bo" },
            { collections = { "Set/One" } })
        assert.equal("/d/a.jpg", photo.path)
        assert.equal(-1, photo.pick)
        assert.equal("Green", photo.label)
        assert.same({ 1.5, -2 }, { photo.latitude, photo.longitude })
        assert.same({ "Bergen", "Vestland", "Norway", "Quay" }, { photo.city, photo.region, photo.country, photo.location })
        assert.same({ "Dog", "plain" }, { unpack(photo.keywords) })
        assert.same({ "Animals|Dog" }, { unpack(photo.keyword_paths) })
        assert.same({ "Ana", "Bo" }, { unpack(photo.people) })
        assert.same({ "Set/One" }, { unpack(photo.collections) })
        assert.equal(978307200, photo.changed_at)
    end)

    it("has its own label's text where it is no colour", function()
        assert.equal("Print", given({ colorNameForLabel = "other", label = "Print" }).label)
    end)

    it("is nothing where catalogd wrote it", function()
        local photo = given({
            rating = 3, pickStatus = 1, colorNameForLabel = "red", label = "Rot", caption = "A dog", title = "Mine",
            gps = { latitude = 1.000001, longitude = 2 }, personShown = "Ana", people = { "Ana" },
            keywords = { "catalogd|Dog", "Dog", "catalogd|People|Ana" },
            written = { rating = 3, pickStatus = 1, colorNameForLabel = "red", caption = "A dog", title = "Theirs",
                        gps = { latitude = 1, longitude = 2 }, personShown = "Ana", keywords = { "catalogd|dog" },
                        people = { "catalogd|People|Ana" } },
        })
        assert.same({}, { photo.rating, photo.pick, photo.label, photo.caption, photo.latitude })
        assert.equal("Mine", photo.title)
        assert.same({ "Dog" }, { unpack(photo.keywords) })
        assert.equal(0, #photo.people)
    end)

    it("of a virtual copy names its master", function()
        local photo = given({ is_copy = true, copy_name = "Copy 1" }, { master_uuid = "M" })
        assert.same({ "Copy 1", "M" }, { photo.copy_name, photo.master_uuid })
    end)
end)
