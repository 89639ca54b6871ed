package.path = "catalogd.lrdevplugin/?.lua;" .. package.path

local Paths = require "Paths"

local function map(...)
    local made = {}
    for place, pair in ipairs({ ... }) do made[place] = { lightroom = pair[1], daemon = pair[2] } end
    return made
end

describe("Paths.parse", function()
    it("reads a pair of folders a line and leaves out slashes at the end", function()
        local found, problems = Paths.parse("P:\\Photos\\ = /srv/photos/\n\n/Volumes/A=/a\r\n")
        assert.same({ { lightroom = "P:\\Photos", daemon = "/srv/photos" }, { lightroom = "/Volumes/A", daemon = "/a" } },
            found)
        assert.same({}, problems)
    end)

    it("keeps the root, and folders with spaces and = in their names", function()
        assert.same({ { lightroom = "/", daemon = "/mnt/mac" } }, (Paths.parse("/ = /mnt/mac")))
        assert.same({ { lightroom = "/My Photos", daemon = "/b = c" } }, (Paths.parse("/My Photos = /b = c")))
        assert.same({ { lightroom = "/a=b", daemon = "/c" } }, (Paths.parse("/a=b = /c")))
    end)

    it("tells the lines that are no pair", function()
        local found, problems = Paths.parse("nonsense\n/a = \n = /b\n/a = /b")
        assert.same({ { lightroom = "/a", daemon = "/b" } }, found)
        assert.same({ "nonsense", "/a =", "= /b" }, problems)
    end)
end)

describe("Paths.to_daemon", function()
    it("leaves a path alone that no pair names", function()
        assert.equal("/a/b.jpg", Paths.to_daemon("/a/b.jpg", {}))
        assert.equal("C:\\a\\b.jpg", Paths.to_daemon("C:\\a\\b.jpg", map({ "P:\\Photos", "/srv" })))
    end)

    it("turns a Windows path into the daemon's", function()
        assert.equal("/srv/photos/2024/a.jpg",
            Paths.to_daemon("P:\\Photos\\2024\\a.jpg", map({ "P:\\Photos", "/srv/photos" })))
    end)

    it("takes drive letters and shares in any case and with any slashes", function()
        local both = map({ "p:/photos", "/srv" }, { "\\\\NAS\\Pictures", "/nas" })
        assert.equal("/srv/Ab.JPG", Paths.to_daemon("P:\\PHOTOS\\Ab.JPG", both))
        assert.equal("/nas/x/y.jpg", Paths.to_daemon("\\\\nas\\pictures\\x\\y.jpg", both))
    end)

    it("takes other folders byte for byte", function()
        assert.equal("/Volumes/a/x.jpg", Paths.to_daemon("/Volumes/a/x.jpg", map({ "/Volumes/A", "/srv" })))
    end)

    it("takes the longest folder that fits", function()
        local both = map({ "/p", "/short" }, { "/p/q", "/long" }, { "/", "/root" })
        assert.equal("/long/a.jpg", Paths.to_daemon("/p/q/a.jpg", both))
        assert.equal("/short/r.jpg", Paths.to_daemon("/p/r.jpg", both))
        assert.equal("/root/z/r.jpg", Paths.to_daemon("/z/r.jpg", both))
    end)

    it("never cuts a folder's name in two", function()
        assert.equal("/photos2/a.jpg", Paths.to_daemon("/photos2/a.jpg", map({ "/photos", "/srv" })))
    end)

    it("keeps a backslash that is a part of a name on macOS", function()
        assert.equal("/srv/a\\b.jpg", Paths.to_daemon("/Volumes/P/a\\b.jpg", map({ "/Volumes/P", "/srv" })))
    end)

    it("maps a whole drive, and from one Windows to another", function()
        assert.equal("/srv/a.jpg", Paths.to_daemon("D:\\a.jpg", map({ "D:\\", "/srv" })))
        assert.equal("E:\\x\\a.jpg", Paths.to_daemon("D:\\p\\a.jpg", map({ "D:\\p", "E:\\x" })))
    end)

    it("keeps the spelling of accents", function()
        local nfd = "/Volumes/P/cafe\204\129.jpg"
        assert.equal("/srv/cafe\204\129.jpg", Paths.to_daemon(nfd, map({ "/Volumes/P", "/srv" })))
    end)
end)

describe("Paths.to_lightroom", function()
    it("is the way back", function()
        for _, case in ipairs({
            { "P:\\Photos\\2024\\a.jpg", "/srv/photos/2024/a.jpg", { "P:\\Photos", "/srv/photos" } },
            { "\\\\nas\\p\\x\\y.jpg", "/nas/x/y.jpg", { "\\\\nas\\p", "/nas" } },
            { "/Volumes/P/é.jpg", "/srv/é.jpg", { "/Volumes/P", "/srv" } },
            { "D:\\a.jpg", "/srv/a.jpg", { "D:", "/srv" } },
        }) do
            assert.equal(case[2], Paths.to_daemon(case[1], map(case[3])))
            assert.equal(case[1], Paths.to_lightroom(case[2], map(case[3]), case[1]:find("\\") ~= nil))
        end
    end)

    it("takes the longest folder of the daemon", function()
        local both = map({ "/A", "/srv" }, { "/B", "/srv/b" })
        assert.equal("/B/x.jpg", Paths.to_lightroom("/srv/b/x.jpg", both, false))
        assert.equal("/A/c/x.jpg", Paths.to_lightroom("/srv/c/x.jpg", both, false))
    end)

    it("turns the slashes of a Windows path that no pair names", function()
        assert.equal("C:\\a\\b.jpg", Paths.to_lightroom("C:/a/b.jpg", {}, true))
        assert.equal("/a/b.jpg", Paths.to_lightroom("/a/b.jpg", {}, true))
    end)
end)

describe("Paths.skeleton", function()
    it("is the same for both spellings of an accent, and in any case", function()
        assert.equal(Paths.skeleton("/A/caf\195\169.jpg"), Paths.skeleton("/a/cafe\204\129.JPG"))
        assert.equal(Paths.skeleton("/\236\130\172\236\167\132.jpg"), -- 사진
            Paths.skeleton("/\225\132\137\225\133\161\225\132\140\225\133\181\225\134\171.jpg"))
        assert.equal(Paths.skeleton("/\225\187\135.jpg"), Paths.skeleton("/e\204\163\204\130.jpg")) -- ệ, two marks
    end)

    it("differs where the plain letters differ", function()
        assert.not_equal(Paths.skeleton("/a/b.jpg"), Paths.skeleton("/a/c.jpg"))
    end)
end)
