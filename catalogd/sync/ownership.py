"""What in a sidecar is catalogd's, as the sidecar itself remembers it.

A sidecar goes from program to program, and from machine to machine, without the catalog. So whatever
catalogd writes is recorded beside it, in its own namespace:

=========================  ========================================================================
`GeneratedKeywords`        keywords, with their levels: `Animals|Dog`
`GeneratedPeople`          names in Iptc4xmpExt:PersonInImage
`GeneratedRegions`         face regions: centre, width, height in the stored picture, and the name
`GeneratedFields`          `dc:description 5f0c…`: a property, with the digest of what was written
`Rejected…`                what of the first three a person took out: it is never written again
=========================  ========================================================================

What is still as it was recorded is catalogd's and may be changed or taken out; all else is somebody's
work and is left alone for good.

# Note [who took it out]
Something that was written stands there no longer: has a person taken it out, or did a program write
its own list anew that never knew it (darktable and Lightroom do, until they read the sidecar again)?
Keywords and regions are kept in several lists, of which such programs write some. A list in which none
of ours is left, while another has them, was written anew: ours are put back. Where some of ours are
left in a list, its writer knew them, and what is missing was taken out. So it was when it is gone from
all lists.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence

from catalogd.metadata.xmp import Value
from catalogd.metadata.xmp_facts import text_digest
from catalogd.sync.packet import Packet, bag, key, text

SCHEMA_VERSION = "1"  # of what is recorded, and how

_LISTS = {  # attribute of Ours: its property
    "keywords": "catalogd:GeneratedKeywords",
    "people": "catalogd:GeneratedPeople",
    "regions": "catalogd:GeneratedRegions",
    "rejected_keywords": "catalogd:RejectedKeywords",
    "rejected_people": "catalogd:RejectedPeople",
    "rejected_regions": "catalogd:RejectedRegions",
}
_FIELDS = "catalogd:GeneratedFields"
_VERSION = "catalogd:SchemaVersion"


@dataclasses.dataclass(frozen=True)
class Ours:
    """What is recorded. `fields`: usual name of a property → digest of what catalogd wrote into it."""

    keywords: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    rejected_keywords: tuple[str, ...] = ()
    rejected_people: tuple[str, ...] = ()
    rejected_regions: tuple[str, ...] = ()
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, properties: Mapping[str, Value]) -> Ours:
        """What a packet's properties record; nothing when catalogd never wrote there."""
        lists = {name: tuple(texts(properties.get(key(record)))) for name, record in _LISTS.items()}
        rows = (row.rpartition(" ") for row in texts(properties.get(key(_FIELDS))))
        return cls(**lists, fields={name: written for name, _, written in rows})

    def as_properties(self) -> dict[str, Value | None]:
        """The properties that record it; None for those that record nothing."""
        rows: dict[str, Iterable[str]] = {
            record: sorted(getattr(self, name)) for name, record in _LISTS.items()
        }
        rows[_FIELDS] = [f"{name} {written}" for name, written in sorted(self.fields.items())]
        recorded = {key(name): bag(entries) if entries else None for name, entries in rows.items()}
        return {key(_VERSION): text(SCHEMA_VERSION), **recorded}

    def claims(self, name: str, content: Iterable[str]) -> bool:
        """Whether a property still is what catalogd wrote: `content` is what of it was digested."""
        return self.fields.get(name) == text_digest(*content)

    def may_claim(self, name: str, recorded: Collection[str]) -> bool:
        """Whether a list that is made is catalogd's: not one of somebody's that is only put back.

        `recorded`: what was written into such lists before.
        """
        return name in self.fields or not recorded

    def claiming(self, name: str, content: Iterable[str] | None) -> Ours:
        """With `content` recorded as what was written into a property; None: it is no longer ours."""
        written = None if content is None else text_digest(*content)
        if self.fields.get(name) == written:
            return self
        fields = {other: known for other, known in self.fields.items() if other != name}
        return dataclasses.replace(self, fields=fields if written is None else {**fields, name: written})


def is_recorded(properties: Mapping[str, Value]) -> bool:
    """Whether anything of catalogd's is recorded: without that, all of it is somebody's."""
    return any(name.startswith(key("catalogd:")) for name in properties)


def taken_out(recorded: Collection[str], lists: Sequence[Collection[str]]) -> set[str]:
    """Which of what was recorded a person took out. See Note [who took it out].

    `lists`: what of the recorded stands in each list that is there.
    """
    known = [standing for standing in lists if standing]
    return {entry for entry in recorded if not known or any(entry not in standing for standing in known)}


def merged(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    """The entries of two records, each once."""
    return tuple(dict.fromkeys([*one, *other]))


def texts(value: Value | None) -> list[str]:
    """The texts of an array, or of a simple value as the only one; none of an absent property."""
    return value.all() if value is not None else []


def properties_of(packet: Packet | None) -> Mapping[str, Value]:
    return packet.properties if packet is not None else {}
