"""XMP packets and IPTC blocks for tests, as programs write them."""

from __future__ import annotations

import struct

NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "exifEX": "http://cipa.jp/exif/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "MPRI": "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
    "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "mediapro": "http://ns.iview-multimedia.com/mediapro/1.0/",
    "GPano": "http://ns.google.com/photos/1.0/panorama/",
    "GCamera": "http://ns.google.com/photos/1.0/camera/",
    "GDepth": "http://ns.google.com/photos/1.0/depthmap/",
    "Container": "http://ns.google.com/photos/1.0/container/",
    "Item": "http://ns.google.com/photos/1.0/container/item/",
    "drone-dji": "http://www.dji.com/drone-dji/1.0/",
}


def xmp_packet(body: str = "", attributes: str = "", wrapped: bool = True) -> bytes:
    """An XMP packet of one description: `attributes` of it, and elements in it."""
    spaces = " ".join(f'xmlns:{prefix}="{namespace}"' for prefix, namespace in NAMESPACES.items())
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {spaces} {attributes}>{body}</rdf:Description>'
        "</rdf:RDF></x:xmpmeta>"
    )
    if wrapped:
        start = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        packet = f'{start}{packet}{" " * 200}<?xpacket end="w"?>'
    return packet.encode()


def xmp_array(name: str, *items: str, kind: str = "Bag") -> str:
    """A property that is an array of texts; those of an Alt are its default and a German one."""
    languages = [' xml:lang="x-default"', ' xml:lang="de"'] if kind == "Alt" else [""] * len(items)
    rows = "".join(
        f"<rdf:li{language}>{item}</rdf:li>" for language, item in zip(languages, items, strict=False)
    )
    return f"<{name}><rdf:{kind}>{rows}</rdf:{kind}></{name}>"


def xmp_region(name: str, x: float, y: float, width: float, height: float, kind: str = "Face") -> str:
    """One item of an MWG region list; x and y are the centre."""
    return (
        f'<rdf:li><rdf:Description mwg-rs:Name="{name}" mwg-rs:Type="{kind}"><mwg-rs:Area stArea:x="{x}" '
        f'stArea:y="{y}" stArea:w="{width}" stArea:h="{height}" stArea:unit="normalized"/>'
        "</rdf:Description></rdf:li>"
    )


def xmp_regions(*items: str) -> str:
    """The MWG regions of a photo of 640x480 stored pixels."""
    return (
        '<mwg-rs:Regions rdf:parseType="Resource">'
        '<mwg-rs:AppliedToDimensions stDim:w="640" stDim:h="480" stDim:unit="pixel"/>'
        f"<mwg-rs:RegionList><rdf:Bag>{''.join(items)}</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"
    )


def iptc_block(*datasets: tuple[int, bytes], charset: bytes = b"") -> bytes:
    """IPTC-IIM datasets of record 2, and the declaration of a charset."""
    rows = [(1, 90, charset)] if charset else []
    rows += [(2, number, content) for number, content in datasets]
    return b"".join(b"\x1c" + struct.pack(">BBH", *row[:2], len(row[2])) + row[2] for row in rows)


def photoshop_block(*resources: tuple[int, bytes], name: bytes = b"") -> bytes:
    """Photoshop image resources as an APP13 segment holds them."""
    block = b"Photoshop 3.0\0"
    for number, content in resources:
        title = bytes([len(name)]) + name
        block += b"8BIM" + struct.pack(">H", number) + title + b"\0" * (len(title) % 2)
        block += struct.pack(">I", len(content)) + content + b"\0" * (len(content) % 2)
    return block
