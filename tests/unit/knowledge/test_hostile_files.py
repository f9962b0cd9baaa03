"""Files that agree with their manifest and mean harm: refused with a reason, before they take memory."""

from __future__ import annotations

import io
import json
import resource
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import faiss
import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from indexing.vectors import VectorIndex
from stream.knowledge.index_file import check_index_file
from stream.knowledge.manifest import FILES, MANIFEST, ArtifactError, FileEntry, encode_manifest
from stream.knowledge.store import ArtifactStore
from stream.knowledge.transfer import import_artifact
from tests.artifacts import ITEMS, place_of, publish_made
from tests.damage import rewrite

HUGE = 1 << 39
MORE_MEMORY = 1 << 30
DIMENSIONS = 8
Change = Callable[[bytearray], None]


@pytest.fixture(autouse=True)
def little_memory() -> object:
    """Who asks for a gigabyte more than is in use fails."""
    used = int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MORE_MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def vectors_of(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, DIMENSIONS)).astype(np.float32)


def put(form: str, at: int, value: int) -> Change:
    def change(content: bytearray) -> None:
        struct.pack_into(form, content, at % len(content), value)

    return change


def fourcc(at: int, kind: bytes) -> Change:
    def change(content: bytearray) -> None:
        content[at : at + 4] = kind

    return change


def longer(content: bytearray) -> None:
    content += b"\0"


def shorter(content: bytearray) -> None:
    del content[-1:]


CENTRES = 4 * DIMENSIONS * 20  # 800 vectors make 20 lists
LISTS = 37 + 16 + 4 + 41 + CENTRES + 9
DAMAGES: dict[str, tuple[int, Change]] = {
    "flat, of another kind": (ITEMS, fourcc(0, b"IxPT")),
    "flat, more vectors than memory": (ITEMS, put("<q", 8, HUGE)),
    "flat, more dimensions": (ITEMS, put("<i", 4, 1 << 30)),
    "flat, more numbers than memory": (ITEMS, put("<Q", 37, HUGE)),
    "flat, by distance": (ITEMS, put("<i", 33, 1)),
    "flat, longer": (ITEMS, longer),
    "flat, shorter": (ITEMS, shorter),
    "lists, more than vectors": (800, put("<Q", 37, HUGE)),
    "lists, more centres than memory": (800, put("<Q", 37 + 16 + 4 + 33, HUGE)),
    "lists, on disk": (800, fourcc(LISTS, b"ilod")),
    "lists, more sizes than memory": (800, put("<Q", LISTS + 24, HUGE)),
    "lists, one larger than memory": (800, put("<Q", LISTS + 32, HUGE)),
    "lists, shorter": (800, shorter),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_an_index_file_that_lies_is_refused_unread(tmp_path: Path, name: str) -> None:
    """Every size of both kinds of index, huge or another: FAISS itself would have taken the memory or the file."""
    count, change = DAMAGES[name]
    path = tmp_path / "index.faiss"
    VectorIndex.build(vectors_of(count), flat_below=100).save(path)
    check_index_file(path, count, DIMENSIONS)
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"index\.faiss"):
        check_index_file(path, count, DIMENSIONS)


@pytest.mark.parametrize("cut", range(0, 400, 23))
def test_an_index_file_of_any_length_is_refused(tmp_path: Path, cut: int) -> None:
    """Wherever it ends."""
    path = tmp_path / "index.faiss"
    VectorIndex.build(vectors_of(800), flat_below=100).save(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ArtifactError, match=r"index\.faiss"):
        check_index_file(path, 800, DIMENSIONS)


@pytest.mark.parametrize("wrong", [-1, 800, 1 << 40, 0])
def test_an_index_that_names_rows_that_are_none_is_refused(wrong: int) -> None:
    """An id beyond the items, or one twice: lists follow ids without looking."""
    index = VectorIndex.build(vectors_of(800), flat_below=100)
    assert index.names_each_row_once()
    for number in range(index.index.nlist):
        ids = faiss.rev_swig_ptr(index.index.invlists.get_ids(number), index.index.invlists.list_size(number))
        if len(ids) and ids[0] != 0:
            ids[0] = wrong
            break
    assert not index.names_each_row_once()


@pytest.mark.parametrize("factory", ["IDMap,Flat", "PQ4", "HNSW8", "PCA4,Flat"])
def test_other_kinds_of_index_are_refused(tmp_path: Path, factory: str) -> None:
    """Only what we write is read."""
    path = tmp_path / "index.faiss"
    index = faiss.index_factory(DIMENSIONS, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors_of(800))
    faiss.write_index(index, str(path))
    with pytest.raises(ArtifactError, match="kind"):
        check_index_file(path, 0, DIMENSIONS)


def say_more(path: Path) -> None:
    """A safetensors header that claims an array of half a terabyte."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    name = next(name for name in header if name != "__metadata__")
    header[name] |= {"shape": [HUGE // 4], "data_offsets": [0, HUGE]}
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + content[8 + length :])


def long_header(path: Path) -> None:
    """A safetensors header that claims to be that long itself."""
    path.write_bytes(struct.pack("<Q", HUGE) + path.read_bytes()[8:])


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".safetensors")])
@pytest.mark.parametrize("change", [say_more, long_header])
def test_arrays_that_claim_to_be_huge_are_refused(
    store: ArtifactStore, name: str, change: Callable[[Path], None]
) -> None:
    manifest = publish_made(store)
    rewrite(store, manifest, name, change)
    with pytest.raises(ArtifactError, match=manifest.id):
        store.open(manifest.id)


@pytest.mark.parametrize("items", [0, ITEMS - 1, ITEMS + 1, 10**15])
def test_another_number_of_items_is_refused(store: ArtifactStore, items: int) -> None:
    """A manifest that counts fewer or more than its files hold, however many more."""
    manifest = publish_made(store)
    lying = msgspec.structs.replace(manifest, items=items)
    (place_of(store, manifest.id) / MANIFEST).write_bytes(encode_manifest(lying))
    with pytest.raises(ArtifactError, match=manifest.id):
        store.open(manifest.id)


def test_a_table_that_unpacks_to_gigabytes_is_refused(store: ArtifactStore) -> None:
    """As many rows as there are items, one of them a title of four billion letters in a few thousand bytes."""
    manifest = publish_made(store)

    def blow_up(path: Path) -> None:
        table = pq.read_table(path)
        titles = ["a" * (20 << 20)] + [None] * (len(table) - 1)
        at = table.schema.get_field_index("title")
        pq.write_table(table.set_column(at, table.schema.field(at), [titles]), path, compression="zstd")

    rewrite(store, manifest, "items.parquet", blow_up)
    with pytest.raises(ArtifactError, match="would unpack"):
        store.open(manifest.id)


def test_texts_are_not_read_beyond_reason(store: ArtifactStore) -> None:
    """A features.json of a gigabyte is refused by its size in the manifest."""
    manifest = publish_made(store)
    entry = FileEntry(1 << 30, "0" * 64)
    lying = msgspec.structs.replace(manifest, files={**manifest.files, "features.json": entry})
    (place_of(store, manifest.id) / MANIFEST).write_bytes(encode_manifest(lying))
    with pytest.raises(ArtifactError, match="bytes"):
        store.open(manifest.id)


def test_an_archive_writes_nothing_outside(store: ArtifactStore, tmp_path: Path) -> None:
    """Names that climb, absolute ones, links, devices and files of another size than announced: none is written."""
    manifest = publish_made(store)
    place = place_of(store, manifest.id)
    content = {name: (place / name).read_bytes() for name in (MANIFEST, *FILES)}
    store.delete(manifest.id)
    before = sorted(tmp_path.rglob("*"))
    hostile = [tarfile.TarInfo("../../escaped"), tarfile.TarInfo("/tmp/escaped"), tarfile.TarInfo("index.faiss")]
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        link = tarfile.TarInfo("index.faiss")
        link.type, link.linkname = kind, "/etc/passwd"
        hostile.append(link)
    for member in hostile:
        archive = tmp_path / "hostile.tar"
        with tarfile.open(archive, "w") as tar:
            first = tarfile.TarInfo(MANIFEST)
            first.size = len(content[MANIFEST])
            tar.addfile(first, io.BytesIO(content[MANIFEST]))
            tar.addfile(member)
        with pytest.raises(ArtifactError):
            import_artifact(store, archive)
        archive.unlink()
        assert sorted(tmp_path.rglob("*")) == before
