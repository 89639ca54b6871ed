package.path = "catalogd.lrdevplugin/?.lua;" .. package.path

local Words = require "Words"

describe("Words.clean", function()
    it("takes out what separates keywords, and spare spaces", function()
        assert.equal("Smith John A B", Words.clean("  Smith, John;A|B\n"))
        assert.equal("", Words.clean(" ,;| "))
    end)

    it("keeps other letters, quotes and slashes", function()
        assert.equal("Søren “S” 東京 a/b", Words.clean("Søren “S” 東京 a/b"))
    end)

    it("never cuts a character in two", function()
        local long = Words.clean(("é"):rep(150))
        assert.is_true(#long <= 200)
        assert.equal(("é"):rep(#long / 2), long)
    end)
end)

describe("Words.fold", function()
    it("makes Latin, Greek and Cyrillic capitals small", function()
        assert.equal("größe ñandú œuvre łódź żółw ÿ", Words.fold("GRÖßE ÑANDÚ ŒUVRE ŁÓDŹ ŻÓŁW Ÿ"))
        assert.equal("άθήνα ωμέγα", Words.fold("ΆΘΉΝΑ ΩΜΈΓΑ"))
        assert.equal("ёлка москва", Words.fold("ЁЛКА МОСКВА"))
    end)

    it("leaves small letters and other scripts alone", function()
        for _, text in ipairs({ "größe ñandú ×÷ ſ", "łódź", "ωμέγα ς", "ёлка", "東京 😀", "ı" }) do
            assert.equal(text, Words.fold(text))
        end
    end)

    it("is the same when it is done twice", function()
        local all = {}
        for first = 194, 212 do
            for second = 128, 191 do all[#all + 1] = string.char(first, second) end
        end
        local once = Words.fold(table.concat(all))
        assert.equal(once, Words.fold(once))
    end)
end)

describe("paths of keywords", function()
    it("are made of clean levels", function()
        assert.equal("Animals|Dog", Words.path({ " Animals", ",", "Dog|" }))
        assert.same({ "Animals", "Dog" }, Words.levels("Animals||Dog"))
        assert.equal("Dog", Words.leaf("Animals|Dog"))
        assert.equal("Dog", Words.leaf("Dog"))
    end)

    it("are put below a parent once, whatever its case is", function()
        assert.equal("catalogd|dog", Words.below("catalogd", "dog"))
        assert.equal("Catalogd|dog", Words.below("catalogd", "Catalogd|dog"))
        assert.equal("catalogd|catalogds|x", Words.below("catalogd", "catalogds|x"))
        assert.equal("dog", Words.below("", "dog"))
    end)
end)
