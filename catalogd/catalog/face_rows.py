"""How faces and clusters lie in the store, and how the faces of a record are told again.

The tables are drawn in `catalogd.catalog.faces`; docs/formats.md has the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from catalogd.catalog.clustering import Cluster, FaceKey, Faces, Floats
from catalogd.catalog.environment import Ids, id_bytes
from catalogd.catalog.store import Reading, space_key
from catalogd.errors import CatalogDamagedError
from catalogd.records import Box

MARK = "faces"  # in the store: the commit that the faces have reached
TABLES = ("faces", "face_vectors", "clusters", "face_log")
# Numbers of `meta`: the layout of the rows, the photo up to which a walk over all has come, the version
# of the last change, the next cluster_id, the space of the clusters, what people said when last looked.
FACES_BY, WALKED, VERSION = "faces_by", "faces_walked", "faces_version"
NEXT_ID, SPACE, DIMENSION, SAID = "faces_next", "faces_space", "faces_dimension", "faces_said"
LAYOUT = 1
ALL_PHOTOS = (1 << 63) - 1
READ_FACES = 1000  # embeddings read at a time: 0.3 MB
KEPT_VERSIONS = 64  # of `face_log`: a reader further behind reads all rows, 0.3 s for 200,000
SAME_FACE_IOU = 0.5  # boxes that overlap so much are of one face (as in detection benchmarks, PASCAL VOC)
SAME_FACE_COSINE = 0.4  # and, where one model made both embeddings, they are this much alike

HIDDEN, GONE, DESCRIBES = 1, 2, 4  # flags: the photo is missing; it shows the face no more; is in the sum
FACE = np.dtype(
    [
        ("cluster", "<i8"),
        ("space", "<u8"),
        ("box", "<f4", 4),
        ("quality", "<f4"),
        ("flags", "u1"),
    ]
)
CLUSTER = np.dtype(
    [("made_for", "<i8"), ("made_at", "<u8"), ("space", "<u8"), ("members", "<u4"), ("summed", "<u4")]
)
_KEY = struct.Struct(">QH")
KEY_BYTES = _KEY.size
Rows = npt.NDArray[np.void]


class ShownFace(msgspec.Struct, gc=False):
    box: Box
    quality: float
    embedding: bytes | None = None


class _Output(msgspec.Struct, gc=False):
    fingerprint: str
    faces: tuple[ShownFace, ...] | None = None


class PhotoFaces(msgspec.Struct, gc=False):
    """Of a Record, its faces."""

    outputs: dict[str, _Output]
    missing_since: float | None = None


_decode_photo = msgspec.msgpack.Decoder(PhotoFaces).decode


def face_key(photo_id: int, index: int) -> bytes:
    return _KEY.pack(photo_id, index)


def decoded_photo(record: bytes | None) -> PhotoFaces | None:
    """None for one that can't be read: `check` finds it where records are walked."""
    try:
        return None if record is None else _decode_photo(record)
    except msgspec.DecodeError:
        return None


def shown_in(photo: PhotoFaces) -> tuple[int, tuple[ShownFace, ...]]:
    """The space and the faces, with embedding, that the photo's record holds."""
    for output in photo.outputs.values():
        if output.faces is not None:
            faces = tuple(face for face in output.faces if face.embedding)
            return int.from_bytes(space_key(output.fingerprint), "big"), faces
    return 0, ()


def overlap(box: Box, others: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Intersection over union of a box with `others: float[n, 4]`: float64[n]."""
    low = np.maximum(others[:, :2], box[:2])
    high = np.minimum(others[:, :2] + others[:, 2:], np.add(box[:2], box[2:]))
    shared = np.prod(np.clip(high - low, 0, None), axis=1, dtype=np.float64)
    areas = np.prod(others[:, 2:], axis=1, dtype=np.float64) + box[2] * box[3] - shared
    result: npt.NDArray[np.float64] = shared / np.maximum(areas, 1e-12)
    return result


def vector_of(half: bytes) -> Floats:
    return np.frombuffer(half, "<f2").astype(np.float32)


class FaceOfPhoto:
    """One row of `faces` while it is worked on."""

    __slots__ = ("box", "cluster", "flags", "half", "index", "photo_id", "quality", "space")

    def __init__(self, photo_id: int, index: int, space: int, face: ShownFace) -> None:
        self.photo_id, self.index, self.space = photo_id, index, space
        self.cluster = self.flags = 0
        self.take(space, face)

    def take(self, space: int, face: ShownFace) -> None:
        """Be this face, as a record shows it."""
        self.space, self.quality, self.half = space, face.quality, face.embedding or b""
        self.box: Box = single(face.box)

    @classmethod
    def stored(cls, key: bytes, value: bytes, half: bytes) -> FaceOfPhoto:
        photo_id, index = _KEY.unpack(key)
        row = np.frombuffer(value, FACE)[0]
        x, y, width, height = row["box"].tolist()
        face = ShownFace((x, y, width, height), float(row["quality"]), half)
        made = cls(photo_id, index, int(row["space"]), face)
        made.cluster, made.flags = int(row["cluster"]), int(row["flags"])
        return made

    @property
    def key(self) -> FaceKey:
        return self.photo_id, self.index

    def is_face(self, space: int, face: ShownFace) -> bool:
        """Whether it says all that the record says."""
        return (self.space, self.half, self.box) == (space, face.embedding, single(face.box))

    def packed(self) -> bytes:
        row = np.zeros((), FACE)
        row["cluster"], row["space"], row["box"] = self.cluster, self.space, self.box
        row["quality"], row["flags"] = self.quality, self.flags
        return row.tobytes()


def single(box: Box) -> Box:
    """The box in the precision of a row."""
    x, y, width, height = np.asarray(box, np.float32).tolist()
    return x, y, width, height


def rows_of(reading: Reading, photo_id: int) -> list[FaceOfPhoto]:
    """The rows of a photo as they are stored, also of faces that it shows no more."""
    found = []
    for key, value in reading.rows_with("faces", id_bytes(photo_id)):
        if len(value) == FACE.itemsize:
            found.append(FaceOfPhoto.stored(key, value, reading.get("face_vectors", key) or b""))
    return found


def read_faces(reading: Reading) -> tuple[Ids, Ids, Rows]:
    """All rows: photo_ids int64[n], indices int64[n], FACE[n], by photo and index."""
    keys, packed = [], []
    for key, value in reading.rows("faces"):
        keys.append(key)
        packed.append(value)
    return parsed(keys, packed)


def parsed(keys: list[bytes], packed: list[bytes]) -> tuple[Ids, Ids, Rows]:
    if any(len(value) != FACE.itemsize for value in packed):
        raise CatalogDamagedError("faces has a row of another length: run `catalogd rebuild faces`")
    names = np.frombuffer(b"".join(keys), np.dtype([("photo", ">i8"), ("index", ">u2")]))
    rows = np.frombuffer(b"".join(packed), FACE)
    return names["photo"].astype(np.int64), names["index"].astype(np.int64), rows


def read_vectors(reading: Reading, dimension: int, keys: Iterable[bytes]) -> Floats:
    """float32[n, D]; zeros where one is missing or of another length."""
    wanted = list(keys)
    stored = dict(reading.many("face_vectors", wanted))
    none = bytes(2 * dimension)
    halves = [value if len(value := stored.get(key, none)) == len(none) else none for key in wanted]
    return np.frombuffer(b"".join(halves), "<f2").reshape(len(wanted), dimension).astype(np.float32)


def read_clusters(reading: Reading) -> tuple[Ids, Rows, list[bytes]]:
    """All clusters: ids int64[n], CLUSTER[n] and the bytes of their sums."""
    keys, heads, sums = [], [], []
    for key, value in reading.rows("clusters"):
        if len(value) < CLUSTER.itemsize:
            raise CatalogDamagedError("clusters has a short row: run `catalogd rebuild faces`")
        keys.append(key)
        heads.append(value[: CLUSTER.itemsize])
        sums.append(value[CLUSTER.itemsize :])
    ids = np.frombuffer(b"".join(keys), ">i8").astype(np.int64)
    return ids, np.frombuffer(b"".join(heads), CLUSTER), sums


def packed_cluster(cluster: Cluster, space: int, made_at: int) -> bytes:
    head = np.zeros((), CLUSTER)
    head["made_for"], head["made_at"], head["space"] = cluster.made_for, made_at, space
    head["members"], head["summed"] = cluster.members, cluster.summed
    return head.tobytes() + cluster.total.astype("<f4").tobytes()


def is_walked(reading: Reading) -> bool:
    """Whether all photos were taken in, up to the mark."""
    layout, walked = reading.number(FACES_BY), reading.number(WALKED)
    return reading.mark(MARK) is not None and layout == LAYOUT and walked == ALL_PHOTOS


def faces_at(reading: Reading, dimension: int, photo_ids: Ids, indices: Ids, rows: Rows) -> Faces:
    keys = [face_key(*key) for key in zip(photo_ids.tolist(), indices.tolist(), strict=True)]
    vectors = read_vectors(reading, dimension, keys)
    return Faces(photo_ids, indices, vectors, rows["quality"].astype(np.float32))


def clusters_of_rows(
    reading: Reading, space: int, dimension: int, made_for: dict[int, int]
) -> dict[int, Cluster]:
    """The clusters as the rows of their faces, those of one space, describe them."""
    photo_ids, indices, rows = read_faces(reading)
    inside = np.flatnonzero((rows["cluster"] != 0) & (rows["flags"] & GONE == 0))
    sums = (rows["flags"] & DESCRIBES > 0) & (rows["space"] == space)
    clusters: dict[int, Cluster] = {}
    for start in range(0, len(inside), READ_FACES):
        page = inside[start : start + READ_FACES]
        faces = faces_at(reading, dimension, photo_ids[page], indices[page], rows[page])
        for place, row in enumerate(page.tolist()):
            number = int(rows["cluster"][row])
            cluster = clusters.setdefault(number, Cluster(number, dimension, made_for.get(number, 0)))
            cluster.add(faces.vectors[place], bool(sums[row]))
    return clusters


def log_version(reading: Reading, photo_ids: Ids | None) -> None:
    """Say whose faces this version changed; None: perhaps all."""
    version = reading.number(VERSION) + 1
    reading.set_number(VERSION, version)
    if photo_ids is None:
        reading.clear("face_log")
        return
    reading.put("face_log", id_bytes(version), photo_ids.astype("<i8").tobytes())
    reading.delete("face_log", id_bytes(max(version - KEPT_VERSIONS, 0)))


# -- the same face again -----------------------------------------------------------------------------


def matched(rows: list[FaceOfPhoto], space: int, faces: Sequence[ShownFace]) -> dict[int, FaceOfPhoto]:
    """Place in `faces` → the row of the same face; each row once, the largest overlaps first."""
    if not rows or not faces:
        return {}
    boxes = np.array([row.box for row in rows])
    overlaps = np.stack([overlap(face.box, boxes) for face in faces])
    found: dict[int, FaceOfPhoto] = {}
    taken: set[int] = set()
    for pair in np.argsort(-overlaps, axis=None, kind="stable").tolist():
        place, number = divmod(pair, len(rows))
        if overlaps[place, number] < SAME_FACE_IOU:
            break
        if place not in found and number not in taken and _alike(rows[number], space, faces[place]):
            found[place] = rows[number]
            taken.add(number)
    return found


def _alike(row: FaceOfPhoto, space: int, face: ShownFace) -> bool:
    """Whether the embeddings say the same, where one model made both."""
    if row.space != space or not face.embedding or len(row.half) != len(face.embedding):
        return True
    return float(vector_of(row.half) @ vector_of(face.embedding)) >= SAME_FACE_COSINE
