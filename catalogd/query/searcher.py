"""A searcher: the catalog, the text model and what else a query needs, opened once and kept warm."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from catalogd.catalog import Catalog
from catalogd.catalog.environment import Ids
from catalogd.catalog.text_index import CONDITION_FIELDS
from catalogd.query import TextEncoder, parse
from catalogd.query.background import Backgrounds
from catalogd.query.execution import execute, selected
from catalogd.query.facets import Counts, divide
from catalogd.query.meaning import Meaning
from catalogd.query.names import known_names, understand
from catalogd.query.pictures import PictureEncoder
from catalogd.query.searches import Tools, album_of, no_faces
from catalogd.query.writing import render
from catalogd.records import Branch, Example, Facets, Output, Plan, Results
from catalogd.settings import Settings

if TYPE_CHECKING:
    from typing import Self

    from catalogd.pipeline.stages import Read

NO_TEXT_INDEX = (
    "words are not searched: their index is missing, half built or of another version; "
    "`catalogd run` builds it"
)


class Searcher:
    """Searches of one catalog, from any thread. Use it as a context manager, or `close` it.

    It sees what a run commits meanwhile. Raises CatalogMissingError when there is no catalog.
    """

    def __init__(
        self, settings: Settings, encoder: TextEncoder | None = None, read: Read | None = None
    ) -> None:
        """`encoder` stands for the profile's own text model, which is loaded by the first words.

        `read` stands for `read_frame`, by which files that are no photos of the catalog are looked at.
        """
        self._settings = settings
        self._catalog = Catalog.open(settings.catalog, settings)
        self._backgrounds = Backgrounds(self._catalog)
        self._pictures = PictureEncoder(settings, read)
        self._meaning = Meaning(settings, self._catalog, encoder)
        self._naming = threading.Lock()
        self._known: tuple[object, dict[str, str]] = (None, {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the catalog. Twice is fine."""
        self._catalog.close()

    def warm(self) -> None:
        """Load what the first query needs."""
        self.search("photo", limit=1)

    # -- questions -------------------------------------------------------------------------------

    def search(
        self,
        query: str | Plan,
        limit: int = 20,
        min_score: float | None = None,
        explain: bool = False,
        *,
        without_stacks: bool = False,
        with_files: bool = True,
        given: Mapping[str, tuple[Output, ...]] | None = None,
    ) -> Results:
        """The best photos of a query text, or of a plan that was read already. Raises QueryError.

        `limit` and `min_score` count, whatever a plan says of them. `without_stacks` leaves out the other
        files of the photos that `similar:` names; without `with_files` it takes photos of the catalog
        alone, and no file is read. `given`: pictures that examples of the plan stand for, by name.
        """
        plan = parse(query) if isinstance(query, str) else query
        plan = msgspec.structs.replace(plan, limit=limit, min_score=min_score)
        understood, first, lines = self._understood(plan)
        tools = self._tools(understood, with_files, given)
        results = execute(
            tools,
            understood,
            first=first,
            read_as=(*render(understood), *lines),
            without_stacks=without_stacks,
        )
        notes = (*results.notes, *self._advice(understood, tools, is_found=bool(results.hits)))
        explanation = results.explanation if explain else None
        return msgspec.structs.replace(results, notes=notes, explanation=explanation)

    def similar(
        self,
        likes: Sequence[Example],
        query: str | Plan = "",
        limit: int = 20,
        min_score: float | None = None,
        explain: bool = False,
        *,
        without_stacks: bool = False,
    ) -> Results:
        """The photos most like the examples, of those that a query finds by its filters, near its words too.

        Raises QueryError for an example that is no photo, UsageError for a file that can't be read.
        """
        plan = parse(query) if isinstance(query, str) and query.strip() else query
        if isinstance(plan, str):
            plan = Plan((Branch(),))
        branches = tuple(
            msgspec.structs.replace(branch, examples=(*branch.examples, *likes)) for branch in plan.branches
        )
        whole = msgspec.structs.replace(plan, branches=branches)
        return self.search(whole, limit, min_score, explain, without_stacks=without_stacks)

    def look_at(self, path: bytes, plan: Plan) -> tuple[Output, ...]:
        """How the picture in a file looks, for the `given` of this query.

        Raises UsageError that says why it can't be seen.
        """
        encoder = self._meaning.encoder() if plan.wants_meaning else None
        return self._pictures(path, encoder.space if encoder is not None else "")

    def count(self, query: str | Plan) -> int:
        """How many photos a query finds; with free words at most `execution.MOST_CANDIDATES` a branch."""
        return len(self.found(query)[0])

    def found(self, query: str | Plan, with_files: bool = True) -> tuple[Ids, bool]:
        """All photos that a query finds, ascending, and whether they are all (see `count`): int64[n]."""
        plan, first, _ = self._understood(parse(query) if isinstance(query, str) else query)
        selection, is_whole = selected(self._tools(plan, with_files), plan, first)
        return selection.ids, is_whole

    def facets(self, query: str | Plan, names: Iterable[str]) -> dict[str, Counts]:
        """How the photos that a query finds divide by `facets.NAMES`: value and photos, most first."""
        return self.divided(query, names).counts

    def divided(self, query: str | Plan, names: Iterable[str], with_files: bool = True) -> Facets:
        """The same, with how many photos there are and what was counted on some of them only."""
        plan, first, _ = self._understood(parse(query) if isinstance(query, str) else query)
        selection, is_whole = selected(self._tools(plan, with_files), plan, first)
        found = divide(self._catalog, selection, names, self._photos_by_person)
        if is_whole:
            return found
        return found._replace(notes=(*found.notes, f"of the best {len(selection):,} photos"))

    def _advice(self, plan: Plan, tools: Tools, is_found: bool) -> Iterator[str]:
        """Why less may have been found than there is."""
        if plan.wants_meaning and tools.encode is None:
            yield self._meaning.lack()
        looked_up = any(condition.field in CONDITION_FIELDS for condition in plan.conditions)
        if (plan.wants_meaning or looked_up) and not self._catalog.has_words:
            yield NO_TEXT_INDEX
        people = [one.words or "" for one in plan.conditions if one.field == "person" and not one.negated]
        for name in [] if is_found else dict.fromkeys(people):
            if not self._catalog.people.meant(name.replace('"', "")):
                yield f"nobody is called {name} yet; `catalogd people` shows who has a name, and gives names"

    # -- what they need --------------------------------------------------------------------------

    def _understood(self, plan: Plan) -> tuple[Plan, frozenset[Branch], tuple[str, ...]]:
        """The plan with its names understood, the branches that came of names, and what to say of them."""
        understood, lines = understand(plan, self._names())
        return understood, frozenset(understood.branches) - frozenset(plan.branches), lines

    def _tools(
        self, plan: Plan, with_files: bool = True, given: Mapping[str, tuple[Output, ...]] | None = None
    ) -> Tools:
        encoder = self._meaning.encoder() if plan.wants_meaning else None
        space = encoder.space if encoder is not None else ""
        people = self._catalog.people
        return Tools(
            catalog=self._catalog,
            backgrounds=self._backgrounds,
            weights={"meaning": self._settings.weight_meaning, "words": self._settings.weight_words},
            space=space,
            encode=self._meaning.encode_by(encoder) if encoder is not None else None,
            logits=getattr(encoder, "logits", None),
            embed=functools.partial(self._pictures, space=space) if with_files else None,
            given=given or {},
            album=functools.partial(album_of, self._settings.catalog),
            faces_of=people.faces_of if len(people.identities().faces.photo_ids) else no_faces,
        )

    def _names(self) -> Mapping[str, str]:
        """Folded name → name of a person; made again when somebody was named."""
        identities = self._catalog.people.identities()
        with self._naming:
            if self._known[0] is not identities:
                people = {
                    person.name: person.aliases for person in identities.persons.values() if person.name
                }
                self._known = identities, known_names(people)
            return self._known[1]

    def _photos_by_person(self) -> Mapping[str, Ids]:
        people = self._catalog.people
        return {person.name: people.photos_of(person.person_id) for person in people.persons() if person.name}
