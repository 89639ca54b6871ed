"""Sidecars as programs and people leave them beside photos, made by hand: `KEPT` and `REFUSED`.

Values are few, but each notation, property kind and oddity that real ones of the named programs have
stands here once.
"""

from __future__ import annotations

import codecs
from typing import NamedTuple

from tests.packets import NAMESPACES as USUAL
from tests.packets import xmp_region, xmp_regions

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NAMESPACES = USUAL | {
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "stRef": "http://ns.adobe.com/xap/1.0/sType/ResourceRef#",
    "crs": "http://ns.adobe.com/camera-raw-settings/1.0/",
    "crd": "http://ns.adobe.com/camera-raw-defaults/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "darktable": "http://darktable.sf.net/",
    "acdsee": "http://ns.acdsee.com/iptc/1.0/",
    "mwg-kw": "http://www.metadataworkinggroup.com/schemas/keywords/",
    "photomech": "http://ns.camerabits.com/photomechanic/1.0/",
    "xmpDM": "http://ns.adobe.com/xmp/1.0/DynamicMedia/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "catalogd": "https://catalogd.org/ns/1.0/",
    "vendor": "http://vendor.example/ns/1.0/",
    "at": "http://tribu.example/atmospheric#",
}


class Case(NamedTuple):
    """One sidecar; `reason` is a part of why it is refused, empty for one that is written into."""

    name: str
    content: bytes
    reason: str = ""


def declare(*prefixes: str) -> str:
    return "".join(f' xmlns:{prefix}="{NAMESPACES[prefix]}"' for prefix in prefixes or NAMESPACES)


def packet(
    body: str = "",
    attributes: str = "",
    prefixes: tuple[str, ...] = (),
    toolkit: str = "XMP Core 5.5.0",
    start: str = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n',
    end: str = '\n<?xpacket end="w"?>',
    about: str = ' rdf:about=""',
) -> str:
    """A packet of one description over several lines, as Adobe's library lays it out."""
    return (
        f'{start}<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="{toolkit}">\n'
        f' <rdf:RDF xmlns:rdf="{RDF}">\n'
        f"  <rdf:Description{about}{declare(*prefixes)}{attributes}>{body}\n"
        f"  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>{end}"
    )


def lines(*elements: str) -> str:
    return "".join(f"\n   {element}" for element in elements)


def array(name: str, *items: str, kind: str = "Bag") -> str:
    rows = "".join(f"\n     <rdf:li>{item}</rdf:li>" for item in items)
    return f"<{name}>\n    <rdf:{kind}>{rows}\n    </rdf:{kind}>\n   </{name}>"


def languages(name: str, **texts: str) -> str:
    rows = "".join(f'<rdf:li xml:lang="{it.replace("_", "-")}">{texts[it]}</rdf:li>' for it in texts)
    return f"<{name}><rdf:Alt>{rows}</rdf:Alt></{name}>"


DUBLIN = lines(
    "<dc:format>image/x-nikon-nef</dc:format>",
    array("dc:creator", "Jane Doe", kind="Seq"),
    languages("dc:rights", x_default="© Jane", de="© Jane (de)"),
    languages("dc:title", x_default="Old title", sv_SE="Gammal"),
    array("dc:subject", "family", "Oslo"),
    array("lr:hierarchicalSubject", "family", "Places|Norway|Oslo"),
)
CAMERA = (
    '\n   xmp:Rating="3" xmp:Label="Red" xmp:CreatorTool="Ver.1.00 " xmp:ModifyDate="2023-06-10T10:11:12.34+02:00"'
    ' tiff:Make="NIKON CORPORATION" tiff:Orientation="8" exif:ExposureTime="1/250" aux:Lens="24.0-70.0 mm f/4.0"'
    ' photoshop:SidecarForExtension="NEF" xmpMM:DocumentID="xmp.did:aaaaaaaa-bbbb"'
)
DEVELOP = (
    '\n   crs:Version="16.0" crs:ProcessVersion="15.4" crs:Exposure2012="+0.85" crs:HasCrop="True"'
    ' crs:CropTop="0.0512" crs:AlreadyApplied="False" crs:UnknownFutureKey="+1.25" crd:Version="16"'
)
CURVE = array("crs:ToneCurvePV2012", "0, 0", "64, 54", "255, 255", kind="Seq")
LOOK = (
    '<crs:Look>\n    <rdf:Description crs:Name="Adobe Color" crs:Amount="1" crs:SupportsAmount="false">'
    + languages("crs:Group", x_default="Profiles")
    + '<crs:Parameters><rdf:Description crs:Version="16.0" crs:LookTable="E1095149FDB39D7A057BAB208837E2E1">'
    "<crs:ToneCurvePV2012><rdf:Seq><rdf:li>0, 0</rdf:li><rdf:li>255, 255</rdf:li></rdf:Seq></crs:ToneCurvePV2012>"
    "</rdf:Description></crs:Parameters></rdf:Description>\n   </crs:Look>"
)
MASKS = (
    "<crs:MaskGroupBasedCorrections><rdf:Seq>\n     <rdf:li>"
    '<rdf:Description crs:What="Correction" crs:CorrectionName="Mask 1" crs:LocalExposure2012="0.25">'
    '<crs:CorrectionMasks><rdf:Seq><rdf:li crs:What="Mask/Image" crs:MaskActive="true" crs:MaskName="Subject 1"'
    ' crs:ReferencePoint="0.500000 0.500000" crs:MaskDigest="DDDD"/></rdf:Seq></crs:CorrectionMasks>'
    "</rdf:Description></rdf:li></rdf:Seq></crs:MaskGroupBasedCorrections>"
)
BRUSH = (
    '<crs:PaintBasedCorrections><rdf:Seq><rdf:li><rdf:Description crs:What="Correction">'
    '<crs:CorrectionMasks><rdf:Seq><rdf:li><rdf:Description crs:What="Mask/Paint" crs:Radius="0.05">'
    "<crs:Dabs><rdf:Seq><rdf:li>d 0.100000 0.200000</rdf:li><rdf:li>d 0.300000 0.400000</rdf:li></rdf:Seq></crs:Dabs>"
    "</rdf:Description></rdf:li></rdf:Seq></crs:CorrectionMasks></rdf:Description></rdf:li></rdf:Seq>"
    "</crs:PaintBasedCorrections>"
)
EVENTS = (
    '<xmpMM:History><rdf:Seq><rdf:li stEvt:action="derived" stEvt:parameters="converted from image/x-nikon-nef"/>'
    '<rdf:li stEvt:action="saved" stEvt:softwareAgent="Adobe Photoshop Lightroom Classic 13.0 (Macintosh)"'
    ' stEvt:changed="/metadata"/></rdf:Seq></xmpMM:History>'
)
DERIVED = '<xmpMM:DerivedFrom stRef:documentID="xmp.did:aaaa" stRef:instanceID="xmp.iid:bbbb"/>'

DARKTABLE = (
    '\n   exif:DateTimeOriginal="2024:05:01 12:00:00" xmp:Rating="1" xmpMM:DerivedFrom="IMG_0002.dng"'
    ' darktable:xmp_version="5" darktable:raw_params="0" darktable:history_end="2"'
    ' darktable:history_current_hash="814797ef8d102c655dd0e562b4af66cb"'
)
EMPTY_HISTORY = "<darktable:masks_history>\n    <rdf:Seq/>\n   </darktable:masks_history>"
HISTORY = (
    "<darktable:history>\n    <rdf:Seq>"
    '\n     <rdf:li darktable:num="0" darktable:operation="rawprepare" darktable:enabled="1"'
    ' darktable:modversion="1" darktable:params="000000000000000000000000" darktable:multi_name=""'
    ' darktable:multi_priority="0" darktable:blendop_version="11" darktable:blendop_params="gz11eJxjYGBg=="/>'
    '\n     <rdf:li darktable:num="1" darktable:operation="sigmoid" darktable:enabled="0"'
    ' darktable:modversion="3" darktable:params="0ad7a33f" darktable:multi_name="film" darktable:multi_priority="0"/>'
    "\n    </rdf:Seq>\n   </darktable:history>"
)
DIGIKAM = lines(
    array("digiKam:TagsList", "Places/Europe/Norway", "barn", kind="Seq"),
    array("MicrosoftPhoto:LastKeywordXMP", "Places/Europe/Norway", "barn"),
    array("mediapro:CatalogSets", "Places|Europe|Norway", "barn"),
    '<acdsee:categories>&lt;Categories&gt;&lt;Category Assigned="1"&gt;barn&lt;/Category&gt;&lt;/Categories&gt;'
    "</acdsee:categories>",
    languages("digiKam:CaptionsAuthorNames", x_default="Ana"),
)
PICASA = lines(xmp_regions(xmp_region("Ana Núñez", 0.4, 0.35, 0.2, 0.3), xmp_region("", 0.7, 0.2, 0.1, 0.1)))
WINDOWS = lines(
    '<MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag><rdf:li rdf:parseType="Resource">'
    "<MPReg:Rectangle>0.3, 0.2, 0.2, 0.3</MPReg:Rectangle><MPReg:PersonDisplayName>Ana</MPReg:PersonDisplayName>"
    "</rdf:li></rdf:Bag></MPRI:Regions></MP:RegionInfo>"
)
HIERARCHY = lines(
    '<mwg-kw:Keywords rdf:parseType="Resource"><mwg-kw:Hierarchy><rdf:Bag><rdf:li rdf:parseType="Resource">'
    "<mwg-kw:Keyword>Places</mwg-kw:Keyword><mwg-kw:Children><rdf:Bag><rdf:li><rdf:Description>"
    "<mwg-kw:Keyword>Norway</mwg-kw:Keyword><mwg-kw:Applied>True</mwg-kw:Applied></rdf:Description></rdf:li></rdf:Bag>"
    "</mwg-kw:Children></rdf:li></rdf:Bag></mwg-kw:Hierarchy></mwg-kw:Keywords>"
)
PLUS = lines(
    "<plus:ImageCreator><rdf:Seq><rdf:li><rdf:Description><plus:ImageCreatorName>Jane</plus:ImageCreatorName>"
    "</rdf:Description></rdf:li></rdf:Seq></plus:ImageCreator>"
)
STRUCTURE = (
    '<vendor:Nested rdf:parseType="Resource"><vendor:A>1</vendor:A><vendor:B><rdf:Bag><rdf:li>x</rdf:li>'
    "<rdf:li>y</rdf:li></rdf:Bag></vendor:B></vendor:Nested>"
)


def exiftool_packet() -> str:
    """exiftool's own layout: single quotes, and a description for each namespace."""
    return (
        "<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>\n"
        "<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk='Image::ExifTool 12.57'>\n"
        f"<rdf:RDF xmlns:rdf='{RDF}'>\n\n"
        f" <rdf:Description rdf:about=''\n  xmlns:dc='{NAMESPACES['dc']}'>\n"
        "  <dc:subject>\n   <rdf:Bag>\n    <rdf:li>a</rdf:li>\n   </rdf:Bag>\n  </dc:subject>\n </rdf:Description>\n\n"
        f" <rdf:Description rdf:about=''\n  xmlns:xmp='{NAMESPACES['xmp']}'>\n"
        "  <xmp:Rating>4</xmp:Rating>\n </rdf:Description>\n</rdf:RDF>\n</x:xmpmeta>\n"
        + (" " * 99 + "\n") * 3
        + "<?xpacket end='w'?>"
    )


def masked(size_bytes: int) -> str:
    """A photo on which somebody painted for hours."""
    dab = f"\n      <rdf:li>{'d 0.123456 0.654321 ' * 50}</rdf:li>"
    dabs = dab * (size_bytes // len(dab))
    return packet(
        lines(f"<crs:PaintBasedCorrections><rdf:Seq>{dabs}\n     </rdf:Seq></crs:PaintBasedCorrections>"),
        CAMERA + DEVELOP,
        toolkit="Adobe XMP Core 7.0-c000",
    )


LIGHTROOM = packet(
    DUBLIN + lines(EVENTS, DERIVED, CURVE, LOOK, MASKS, BRUSH),
    CAMERA + DEVELOP,
    toolkit="Adobe XMP Core 7.0-c000 1.000000, 0000/00/00-00:00:00        ",
)
ONE_LINE = packet(DUBLIN, CAMERA).replace("\n", "")
NO_WRAPPER = packet(DUBLIN, CAMERA, start="", end="")
DECLARED = '<?xml version="1.0" encoding="UTF-8"?>\n'
BOM = codecs.BOM_UTF8


def _utf16(text: str, order: str, mark: bytes) -> bytes:
    return mark + text.encode(f"utf-16-{order}")


_KEPT = {
    # Lightroom, Camera Raw, Bridge.
    "lightroom": LIGHTROOM,
    "lightroom-develop-only": packet(lines(CURVE), DEVELOP, ("crs", "crd")),
    "lightroom-look": packet(lines(LOOK), DEVELOP),
    "lightroom-masks": packet(lines(MASKS)),
    "lightroom-brush": packet(lines(BRUSH)),
    "lightroom-history": packet(lines(EVENTS, DERIVED)),
    "lightroom-one-line": LIGHTROOM.replace("\n", ""),
    "lightroom-old": LIGHTROOM.replace("x:xmpmeta", "x:xapmeta"),
    "lightroom-all-attributes": packet("", CAMERA + DEVELOP).replace(">\n  </rdf:Description>", "/>"),
    "bridge": packet(DUBLIN + lines("<xmpRights:Marked>True</xmpRights:Marked>"), CAMERA),
    "bridge-label-empty": packet(DUBLIN, ' xmp:Label="" photoshop:Urgency="0"'),
    "camera-raw-empty-curves": packet(lines("<crs:ToneCurve><rdf:Seq/></crs:ToneCurve>"), DEVELOP),
    # darktable.
    "darktable": packet(DUBLIN + lines(HISTORY, EMPTY_HISTORY), DARKTABLE, start=DECLARED, end=""),
    "darktable-fresh": packet(lines(EMPTY_HISTORY), DARKTABLE, start=DECLARED, end=""),
    "darktable-history": packet(
        lines(HISTORY), DARKTABLE, start=DECLARED, end="", toolkit="XMP Core 4.4.0-Exiv2"
    ),
    "darktable-empty-date": packet("", ' exif:DateTimeOriginal="" darktable:history_end="0"', start=DECLARED),
    "darktable-tags": packet(
        lines(array("dc:subject", "darktable", "a"), array("lr:hierarchicalSubject", "a|b"))
    ),
    # digiKam, Picasa, Windows, Photo Mechanic, Capture One.
    "digikam": packet(DUBLIN + DIGIKAM, ' digiKam:ColorLabel="0" digiKam:PickLabel="2"'),
    "digikam-empty-tags": packet(lines("<digiKam:TagsList><rdf:Seq/></digiKam:TagsList>")),
    "faces": packet(PICASA),
    "faces-windows": packet(WINDOWS),
    "faces-both": packet(PICASA + WINDOWS + DUBLIN),
    "keywords-mwg": packet(HIERARCHY),
    "photo-mechanic": packet(DUBLIN, ' photomech:Prefs="1:1:3:008455" photomech:Tagged="True"'),
    "capture-one": packet(
        lines("<lr:privateRTKInfo/>", array("dc:subject", "a")), ' xmp:Rating="5"', toolkit="XMP Core 5.5.0"
    ),
    "plus": packet(PLUS),
    "dynamic-media": packet(lines("<xmpDM:Good>True</xmpDM:Good>", "<xmpDM:pick>-1</xmpDM:pick>")),
    # exiftool, exiv2, and no program.
    "exiftool": exiftool_packet(),
    "exiftool-only-one": exiftool_packet().replace("<rdf:li>a</rdf:li>", "<rdf:li>a &amp; b&#xa;c</rdf:li>"),
    "exiv2": packet(DUBLIN, CAMERA, toolkit="XMP Core 4.4.0-Exiv2", start=DECLARED, end=""),
    "no-wrapper": NO_WRAPPER,
    "no-xmpmeta": f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description{declare()}>{DUBLIN}</rdf:Description></rdf:RDF>',
    "no-description": f'<x:xmpmeta xmlns:x="adobe:ns:meta/">\n <rdf:RDF xmlns:rdf="{RDF}">\n </rdf:RDF>\n</x:xmpmeta>',
    "no-description-closed": f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"/></x:xmpmeta>',
    "no-property": packet(),
    "no-about": packet(DUBLIN, about=""),
    "about-without-namespace": packet(DUBLIN, about=' about=""'),
    "about-something": packet(DUBLIN, about=' rdf:about="uuid:1234"'),
    "one-line": ONE_LINE,
    "tabs": packet(DUBLIN, CAMERA).replace("\n   ", "\n\t\t\t"),
    "single-quotes": packet(DUBLIN, CAMERA.replace('"', "'")),
    "padded": packet(DUBLIN, end="\n" + (" " * 99 + "\n") * 20 + '<?xpacket end="w"?>'),
    "read-only-wrapper": packet(DUBLIN, end='\n<?xpacket end="r"?>'),
    "declaration-behind-wrapper": packet(DUBLIN).replace("?>\n", f"?>\n{DECLARED}", 1),
    # What is no property.
    "comments": packet(DUBLIN + "<!-- kept by hand -->", start="<!-- a person wrote this -->\n"),
    "comment-in-what-changes": packet(
        lines(
            "<dc:subject><!-- old --><rdf:Bag><rdf:li>a<![CDATA[<!-- text -->]]><?b c?></rdf:li></rdf:Bag></dc:subject>"
        )
    ),
    "comment-in-text": packet(lines("<dc:format>image/<!-- which? -->jpeg</dc:format>")),
    "instructions": packet(DUBLIN + '<?vendor keep="me"?>', end='<?xpacket end="w"?><?vendor done?>'),
    "foreign-elements": packet(DUBLIN, CAMERA).replace(
        "<rdf:RDF", '<vendor:Box xmlns:vendor="http://vendor.example/"><vendor:In/></vendor:Box><rdf:RDF', 1
    ),
    "text-behind": packet(DUBLIN) + "\nend of sidecar\n",
    "zeros-behind": packet(DUBLIN) + "\0" * 512,
    "text-before": "sidecar:\n" + NO_WRAPPER,
    # Notations and values.
    "structure": packet(lines(STRUCTURE)),
    "uri": packet(lines('<vendor:Uri rdf:resource="http://example.com/x"/>')),
    "empty-values": packet(
        lines(
            "<vendor:A/>",
            "<vendor:B></vendor:B>",
            "<vendor:C><rdf:Bag/></vendor:C>",
            "<vendor:D><rdf:Description/></vendor:D>",
        ),
        ' vendor:E=""',
    ),
    "blank-values": packet(
        lines("<vendor:A>  </vendor:A>", "<vendor:B>\n two lines \n</vendor:B>"), ' vendor:C=" "'
    ),
    "cdata": packet(lines("<vendor:A><![CDATA[<a> & <b>]]></vendor:A>")),
    "references": packet(
        lines("<vendor:A>&#x1F600; &#9; &#10;&amp;amp;</vendor:A>"), ' vendor:B="&#10;&quot;&apos;&lt;"'
    ),
    "scripts": packet(lines(array("dc:subject", "日本", "שלום \u202eabc", "👩‍👩‍👧", "e\u0301", "\u00a0"))),
    "array-in-array": packet(
        lines(
            "<vendor:A><rdf:Seq><rdf:li><rdf:Bag><rdf:li>1</rdf:li></rdf:Bag></rdf:li><rdf:li>2</rdf:li></rdf:Seq></vendor:A>"
        )
    ),
    "language-on-text": packet(lines('<vendor:A xml:lang="de">Wort</vendor:A>')),
    "keywords-as-sequence": packet(lines(array("dc:subject", "a", "b", kind="Seq"))),
    "keywords-as-text": packet("", ' dc:subject="a, b"'),
    "title-as-text": packet(lines("<dc:title>plain</dc:title>")),
    "ours-from-before": packet(
        lines(array("catalogd:GeneratedKeywords", "cat")), ' catalogd:SchemaVersion="1"'
    ),
    # Namespaces.
    "default-namespace": packet(
        lines(
            '<subject xmlns="http://purl.org/dc/elements/1.1/"><rdf:Bag><rdf:li>a</rdf:li></rdf:Bag></subject>'
        )
    ),
    "default-rdf": f'<RDF xmlns="{RDF}"><Description><v:A xmlns:v="http://v.example/">1</v:A></Description></RDF>',
    "other-prefixes": packet(DUBLIN)
    .replace("rdf:", "r:")
    .replace(":rdf", ":r")
    .replace("dc:", "d1:")
    .replace(":dc", ":d1"),
    "usual-prefix-for-another": packet(DUBLIN, ' xmp:Rating="3"').replace(
        NAMESPACES["digiKam"], "http://else.example/"
    ),
    "nested-scopes": packet(
        lines(
            '<a:A xmlns:a="http://one.example/"><rdf:Description xmlns:a="http://two.example/"><a:A>1</a:A></rdf:Description></a:A>'
        )
    ),
    "two-prefixes-of-one": packet(
        "", ' one:A="1" two:B="2" xmlns:one="http://v.example/" xmlns:two="http://v.example/"'
    ),
    "two-descriptions": packet(DUBLIN).replace(
        " </rdf:RDF>", f'  <rdf:Description rdf:about=""{declare("vendor")} vendor:A="1"/>\n </rdf:RDF>'
    ),
    "unknown-namespaces": packet(lines("<at:pressure>1013</at:pressure>"), ' vendor:Plain="keep me"'),
    "five-megabytes": masked(5 << 20),
}

_KEPT_BYTES = {
    "byte-order-mark": BOM + packet(DUBLIN).encode(),
    "byte-order-mark-declared": BOM + packet(DUBLIN, start=DECLARED).encode(),
    "line-ends-of-windows": packet(DUBLIN, CAMERA).replace("\n", "\r\n").encode(),
    "line-ends-of-old-macs": packet(DUBLIN, CAMERA).replace("\n", "\r").encode(),
    "utf-16-little": _utf16(LIGHTROOM, "le", codecs.BOM_UTF16_LE),
    "utf-16-big": _utf16(LIGHTROOM, "be", codecs.BOM_UTF16_BE),
    "utf-16-without-mark": _utf16(NO_WRAPPER, "le", b""),
    "utf-16-declared": _utf16(packet(DUBLIN, start=DECLARED.replace("8", "16")), "be", codecs.BOM_UTF16_BE),
}

_REFUSED = {
    "empty": ("it is empty", b""),
    "zeros": ("it is empty", bytes(4096)),
    "no-xml": ("it is no XML", b"rating: 5\n"),
    "truncated": ("damaged", LIGHTROOM.encode()[:2000]),
    "truncated-at-the-end": ("damaged", NO_WRAPPER.encode()[:-4]),
    "latin-1": ("no UTF-8", packet(DUBLIN).encode("latin-1", "replace")),
    "latin-1-declared": (
        "says that it is ISO-8859-1",
        packet(DUBLIN, start=DECLARED.replace("UTF-8", "ISO-8859-1")).encode(),
    ),
    "half-a-character": ("no UTF-16", _utf16(LIGHTROOM, "le", codecs.BOM_UTF16_LE)[:-1]),
    "document-type": ("document type", packet(DUBLIN, start='<!DOCTYPE x [<!ENTITY a "b">]>').encode()),
    "qualifier": (
        "qualifiers",
        packet(
            lines(
                "<vendor:A><rdf:Description><rdf:value>v</rdf:value><vendor:q>q</vendor:q></rdf:Description></vendor:A>"
            )
        ).encode(),
    ),
    "qualifier-in-item": (
        "qualifiers",
        packet(lines(array("dc:subject", '<rdf:Description rdf:value="v" vendor:q="q"/>'))).encode(),
    ),
    "qualifier-beside-text": (
        "text stands among",
        packet(lines('<vendor:A vendor:q="q">text</vendor:A>')).encode(),
    ),
    "qualifier-of-uri": (
        "has a qualifier",
        packet(lines('<vendor:A rdf:resource="http://a.example/" vendor:q="q"/>')).encode(),
    ),
    "two-abouts": (
        "several things",
        packet(DUBLIN)
        .replace(" </rdf:RDF>", '  <rdf:Description rdf:about="uuid:2"/>\n </rdf:RDF>')
        .replace('about=""', 'about="uuid:1"')
        .encode(),
    ),
    "two-rdfs": (
        "more than one rdf:RDF",
        packet(DUBLIN).replace("</rdf:RDF>", f'</rdf:RDF><rdf:RDF xmlns:rdf="{RDF}"/>').encode(),
    ),
    "two-packets": ("more than one packet", packet(DUBLIN).encode() * 2),
    "rdf-in-foreign": (
        "foreign element",
        packet(DUBLIN).replace("<rdf:RDF", "<a><rdf:RDF").replace("/rdf:RDF>", "/rdf:RDF></a>").encode(),
    ),
    "no-rdf": ("no rdf:RDF", b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'),
    "typed-node": (
        "where a description should",
        packet().replace("rdf:Description", "vendor:Photo").encode(),
    ),
    "typed-value": (
        "typed node",
        packet(lines("<vendor:A><vendor:Type><vendor:B>1</vendor:B></vendor:Type></vendor:A>")).encode(),
    ),
    "type": (
        "rdf:type is not understood",
        packet(lines('<vendor:A rdf:type="http://a.example/"/>')).encode(),
    ),
    "node-id": ("rdf:nodeID", packet(DUBLIN, about=' rdf:nodeID="a"').encode()),
    "datatype": (
        "rdf:datatype",
        packet(lines('<vendor:A rdf:datatype="http://a.example/">1</vendor:A>')).encode(),
    ),
    "literal": (
        "parse type Literal",
        packet(lines('<vendor:A rdf:parseType="Literal"><b>1</b></vendor:A>')).encode(),
    ),
    "twice": ("A stands twice", packet(lines("<vendor:A>1</vendor:A>", "<vendor:A>2</vendor:A>")).encode()),
    "twice-as-attribute": (
        "A stands twice",
        packet(lines("<vendor:A>1</vendor:A>"), ' vendor:A="1"').encode(),
    ),
    "twice-in-structure": (
        "B stands twice",
        packet(
            lines('<vendor:A vendor:B="1"/>')
            .replace(
                "/>", "><rdf:Description vendor:B='1'><vendor:B>1</vendor:B></rdf:Description></vendor:A>"
            )
            .replace(' vendor:B="1"', "")
        ).encode(),
    ),
    "two-values": ("one value too many", packet(lines("<vendor:A><rdf:Bag/><rdf:Bag/></vendor:A>")).encode()),
    "text-and-value": ("text stands among", packet(lines("<vendor:A>text<rdf:Bag/></vendor:A>")).encode()),
    "text-among-properties": ("text stands among", packet("text").encode()),
    "no-item": (
        "no item of an array",
        packet(lines("<vendor:A><rdf:Bag><vendor:B/></rdf:Bag></vendor:A>")).encode(),
    ),
    "no-namespace": ("no namespace", packet("", ' Rating="1"').encode()),
    "language-of-everything": ("xml:lang is not understood", packet(DUBLIN, ' xml:lang="de"').encode()),
    "attributes-of-array": (
        "has attributes",
        packet(lines('<vendor:A><rdf:Bag vendor:B="1"/></vendor:A>')).encode(),
    ),
    "too-deep": (
        "elements deep",
        packet(lines("<vendor:A><rdf:Description>" * 40 + "</rdf:Description></vendor:A>" * 40)).encode(),
    ),
    "control-character": ("damaged", packet(lines("<vendor:A>\x01</vendor:A>")).encode()),
    "undeclared-prefix": ("unbound prefix", packet(lines("<nobody:A>1</nobody:A>")).encode()),
    "too-large": ("larger than", b"<" + bytes(16 << 20)),
}

KEPT = [
    *(Case(name, content.encode()) for name, content in _KEPT.items()),
    *(Case(name, content) for name, content in _KEPT_BYTES.items()),
]
REFUSED = [Case(name, content, reason) for name, (reason, content) in _REFUSED.items()]
