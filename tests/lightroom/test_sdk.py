"""The fake Lightroom is as strict as the real one is known to be."""

from __future__ import annotations

import pytest

from tests.lightroom.sdk import Lightroom, PluginError, to_python

CATALOG = "local catalog = import('LrApplication').activeCatalog()\n"


def failure(lightroom: Lightroom, source: str, *arguments: object) -> str:
    with pytest.raises(PluginError) as raised:
        lightroom.evaluate(CATALOG + source, *arguments)
    return str(raised.value)


def test_a_plain_pcall_around_what_waits_fails_and_lrtasks_pcall_does_not(lightroom: Lightroom) -> None:
    ok, message = lightroom.evaluate(CATALOG + "return pcall(function() return catalog:getAllPhotos() end)")
    assert not ok
    assert "attempt to yield across metamethod/C-call boundary" in message
    source = """
    local ok, found = import('LrTasks').pcall(function() return catalog:getAllPhotos() end)
    return ok, #found
    """
    assert lightroom.evaluate(CATALOG + source) == (True, 0)


def test_an_iterator_that_waits_fails(lightroom: Lightroom) -> None:
    assert "yield" in failure(lightroom, "for _ in function() import('LrTasks').yield() end do end")


def test_what_waits_needs_a_task(lightroom: Lightroom) -> None:
    with pytest.raises(Exception, match="only wait from within a task"):
        lightroom.lua.eval(b"function(catalog) return catalog:getAllPhotos() end")(
            lightroom.control[b"catalog"]
        )


def test_an_observer_and_a_button_run_outside_a_task(lightroom: Lightroom) -> None:
    source = """
    local context = { addCleanupHandler = function() end }
    local properties = import('LrBinding').makePropertyTable(context)
    local could
    properties:addObserver('a', function() could = import('LrTasks').canYield() end)
    properties.a = 1
    return could, import('LrTasks').canYield()
    """
    assert lightroom.evaluate(source) == (False, True)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("photo:setRawMetadata('rating', 0)", "Invalid rating: 0"),
        ("photo:setRawMetadata('rating', -1)", "Invalid rating"),
        ("photo:setRawMetadata('stars', 1)", "Unknown settable"),
        ("catalog:batchGetRawMetadata({photo}, {'stars'})", "Unknown raw metadata key"),
        ("photo:setRawMetadata('pickStatus', 2)", "Invalid pickStatus"),
        ("photo:setPropertyForPlugin(_PLUGIN, 'nothing', 'x')", "declares no field"),
        ("catalog:createKeyword('a,b', {}, true, nil, true)", "Invalid keyword name"),
        ("catalog:createKeyword('new', {}, true):getName()", "can't be read before the gate has ended"),
        ("catalog:withWriteAccessDo('inner', function() end, {timeout = 1})", "don't nest"),
    ],
)
def test_what_lightroom_refuses_raises(lightroom: Lightroom, call: str, says: str) -> None:
    lightroom.select(lightroom.add_photo("/a.jpg"))
    gate = "catalog:withWriteAccessDo('x', function() %s end, {timeout = 1})"
    assert says in failure(lightroom, "local photo = catalog:getTargetPhoto()\n" + gate % call)


def test_a_setter_outside_a_gate_raises(lightroom: Lightroom) -> None:
    lightroom.select(lightroom.add_photo("/a.jpg"))
    assert "inside catalog:withWriteAccessDo" in failure(
        lightroom, "catalog:getTargetPhoto():setRawMetadata('title', 'x')"
    )
    private = """
    local photo = catalog:getTargetPhoto()
    catalog:withPrivateWriteAccessDo(function() photo:setRawMetadata('title', 'x') end)
    """
    assert "inside catalog:withWriteAccessDo" in failure(lightroom, private)


def test_unknown_namespaces_functions_and_globals_raise(lightroom: Lightroom) -> None:
    assert "no namespace" in failure(lightroom, "import('LrNothing')")
    assert "has no function" in failure(lightroom, "import('LrHttp').fetch('x')")
    assert "there is no global" in failure(lightroom, "return undefined_name")
    assert "a global is set" in failure(lightroom, "leaked = 1")


@pytest.mark.parametrize("name", ["package", "module", "debug", "loadfile", "dofile", "coroutine", "python"])
def test_what_the_sandbox_lacks_is_not_there(lightroom: Lightroom, name: str) -> None:
    assert "there is no global" in failure(lightroom, f"return {name}")
    assert lightroom.evaluate("return os.execute == nil and os.getenv == nil and io.popen == nil")


def test_a_contended_gate_is_aborted_or_throws_without_timeouts(lightroom: Lightroom) -> None:
    lightroom.contend(1)
    gate = "return catalog:withWriteAccessDo('x', function() end, {timeout = 2})"
    assert lightroom.evaluate(CATALOG + gate) == "aborted"
    assert lightroom.evaluate(CATALOG + gate) == "executed"
    lightroom.contend(1)
    assert "blocked by another write access" in failure(
        lightroom, "catalog:withWriteAccessDo('x', function() end)"
    )


def test_an_error_in_a_gate_takes_its_changes_back_and_undo_takes_a_step(lightroom: Lightroom) -> None:
    photo = lightroom.add_photo("/a.jpg", title="old")
    lightroom.select(photo)
    before = lightroom.snapshot([photo])
    body = """
    photo:setRawMetadata('title', 'new')
    photo:addKeyword(catalog:createKeyword('k', {}, true, nil, true))
    """
    gate = """
    local photo = catalog:getTargetPhoto()
    catalog:withWriteAccessDo('step', function() %s end, {timeout = 1})
    """
    failure(lightroom, gate % (body + " error('broken')"))
    assert lightroom.snapshot([photo]) == before
    lightroom.evaluate(CATALOG + gate % body)
    assert lightroom.photo(photo)["values"]["title"] == "new"
    assert lightroom.photo(photo)["keywords"] == ["k"]
    assert lightroom.undo() == "step"
    assert lightroom.snapshot([photo]) == before


def test_reads_give_copies_and_photos_are_keys(lightroom: Lightroom) -> None:
    lightroom.add_photo("/a.jpg", gps={"latitude": 1.0, "longitude": 2.0})
    source = """
    local photos = catalog:getAllPhotos()
    local found = catalog:batchGetRawMetadata(photos, {'gps', 'path'})
    found[photos[1]].gps.latitude = 9
    return catalog:batchGetRawMetadata(catalog:getAllPhotos(), {'gps'})[photos[1]].gps.latitude
    """
    assert lightroom.evaluate(CATALOG + source) == 1.0


def test_without_a_selection_the_targets_are_the_whole_filmstrip(lightroom: Lightroom) -> None:
    photos = [lightroom.add_photo(f"/{number}.jpg") for number in range(3)]
    assert lightroom.evaluate(
        CATALOG + "return #catalog:getTargetPhotos(), catalog:getTargetPhoto() == nil"
    ) == (3, True)
    lightroom.select(photos[1])
    assert lightroom.evaluate(
        CATALOG + "return #catalog:getTargetPhotos(), catalog:getTargetPhoto() == nil"
    ) == (1, False)


def test_a_path_finds_the_master_and_never_a_virtual_copy(lightroom: Lightroom) -> None:
    master = lightroom.add_photo("/a.jpg", uuid="M")
    lightroom.add_photo("/a.jpg", uuid="C", master=master)
    source = "local p = catalog:findPhotoByPath('/a.jpg') return p:getRawMetadata('uuid')"
    assert lightroom.evaluate(CATALOG + source) == "M"


def test_a_preference_is_kept_when_another_table_takes_its_place(lightroom: Lightroom) -> None:
    source = """
    local p = import('LrPrefs').prefsForPlugin()
    p.list = { 1 }
    local list = p.list
    list[2] = 2
    p.list = list
    """
    lightroom.evaluate(source)
    assert to_python(lightroom.control[b"preferences"]) == {"list": [1], "address": kept_address(lightroom)}
    lightroom.evaluate("local p = import('LrPrefs').prefsForPlugin() p.list = { 1, 2 }")
    assert to_python(lightroom.control[b"preferences"])["list"] == [1, 2]


def kept_address(lightroom: Lightroom) -> str:
    return str(to_python(lightroom.control[b"preferences"][b"address"]))


@pytest.mark.parametrize(
    "wait",
    [
        "catalog:getAllPhotos()",
        "import('LrTasks').yield()",
        "import('LrHttp').get('http://127.0.0.1:9')",
        "import('LrDialogs').confirm('x')",
    ],
)
def test_nothing_may_wait_in_a_gate(lightroom: Lightroom, wait: str) -> None:
    gate = f"catalog:withWriteAccessDo('x', function() {wait} end, {{timeout = 1}})"
    assert "nothing may wait in a write gate" in failure(lightroom, gate)
    assert lightroom.evaluate(CATALOG + "return #catalog:getAllPhotos()") == 0, "the gate is open again"


def test_a_set_takes_no_collection_in_the_gate_that_made_it(lightroom: Lightroom) -> None:
    body = "catalog:createCollection('c', catalog:createCollectionSet('s', nil, true), true)"
    assert "can't be read before the gate has ended" in failure(
        lightroom, f"catalog:withWriteAccessDo('x', function() {body} end, {{timeout = 1}})"
    )


def test_the_properties_of_a_dialog_end_with_its_context(lightroom: Lightroom) -> None:
    source = """
    local properties
    import('LrFunctionContext').callWithContext('x', function(context)
        properties = import('LrBinding').makePropertyTable(context)
        properties.a = 1
    end)
    properties.a = 2
    """
    assert "ended with its context: a" in failure(lightroom, source)


def test_the_text_of_a_label_follows_its_colour_in_the_language_of_lightroom() -> None:
    with Lightroom(language="de") as german:
        photo = german.add_photo("/a.jpg")
        german.select(photo)
        german.evaluate(
            CATALOG
            + "local photo, colour = catalog:getTargetPhoto(), ..."
            + " catalog:withWriteAccessDo('x', function()"
            + " photo:setRawMetadata('colorNameForLabel', colour) end)",
            "green",
        )
        assert german.photo(photo)["values"]["label"] == "Grün"
