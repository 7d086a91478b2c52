import io
import stat
import struct
import tracemalloc
import unicodedata
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.data.upload import Limits, read_upload
from nas.errors import InvalidInput
from tests.data.files import encoded, folders, pixels, refusal, zipped


def test_class_folders_become_labels_in_the_order_of_names(tmp_path: Path) -> None:
    images = pixels(20)
    members = {f"{'dog' if index % 2 else 'cat'}/{index:02}.png": encoded(image) for index, image in enumerate(images)}
    upload = read_upload(zipped(tmp_path / "file", members))
    data = upload.data
    assert data.classes == ("cat", "dog")
    assert data.task == "single_label"
    assert data.labels.tolist() == [0] * 10 + [1] * 10
    expected = np.concatenate([images[0::2], images[1::2]]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(data.images, expected)
    assert upload.counts == {"cat": 10, "dog": 10}
    assert sorted(np.concatenate([data.train, data.validation, data.test]).tolist()) == list(range(20))


def test_the_digest_is_of_the_content_however_it_was_packed(tmp_path: Path) -> None:
    members = folders(8, ("Größe", "dog"))
    inside = {f"data/more/{name}": content for name, content in members.items()}
    turned = dict(reversed(members.items()))
    apple = {unicodedata.normalize("NFD", name): content for name, content in members.items()}
    junk = members | {"__MACOSX/Größe/._0.png": b"?", ".DS_Store": b"?", "dog/Thumbs.db": b"?", "dog/.hidden": b"?"}
    assert unicodedata.normalize("NFD", "Größe/0.png") in apple
    digests = set()
    for kind in (members, inside, turned, apple, junk):
        upload = read_upload(zipped(tmp_path / "file", kind))
        digests.add(upload.data.digest)
        assert "Größe" in upload.data.classes
        assert not [warning for warning in upload.warnings if "Skipped" in warning]
    assert len(digests) == 1


def test_the_digest_is_the_same_whatever_the_parts_of_the_split_are_called(tmp_path: Path) -> None:
    digests = set()
    for names in (("train", "val", "test"), ("Train", "Valid", "test"), ("train", "validation", "Test")):
        members: dict[str, bytes] = {}
        for seed, name in enumerate(names):
            members |= folders(8, ("a", "a-b"), f"{name}/", seed=seed)
        digests.add(read_upload(zipped(tmp_path / "file", members)).data.digest)
    assert len(digests) == 1


def test_empty_directories_and_their_entries_are_told_apart_from_full_ones(tmp_path: Path) -> None:
    members = {"cat/": b"", "dog/": b""} | folders()
    assert read_upload(zipped(tmp_path / "a", members)).data.classes == ("cat", "dog")
    assert refusal(zipped(tmp_path / "b", members | {"owl/": b""})).value == "owl/"


def test_the_seed_decides_the_split_and_nothing_else(tmp_path: Path) -> None:
    path = zipped(tmp_path / "file", folders(20))
    one, again, other = (read_upload(path, seed=seed).data for seed in (3, 3, 4))
    assert one.digest == again.digest
    assert one.test.tolist() != other.test.tolist()
    np.testing.assert_array_equal(one.images, other.images)


def names_of(count: int, part: str, classes: tuple[str, ...] = ("cat", "dog"), seed: int = 0) -> dict[str, bytes]:
    return folders(count, classes, f"{part}/", seed=seed)


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        ({"train": 10, "val": 3, "test": 2}, (20, 6, 4)),
        ({"Train": 10, "valid": 3, "Test": 2}, (20, 6, 4)),
        ({"train": 10, "validation": 3}, (16, 6, 4)),
        ({"train": 10, "test": 3}, (16, 4, 6)),
    ],
    ids=str,
)
def test_folders_of_a_split_stay_it_and_what_is_missing_is_taken_from_train(
    parts: dict[str, int], sizes: tuple[int, int, int], tmp_path: Path
) -> None:
    members = {
        name: file for i, (part, n) in enumerate(parts.items()) for name, file in names_of(n, part, seed=i).items()
    }
    data = read_upload(zipped(tmp_path / "file", members)).data
    assert (len(data.train), len(data.validation), len(data.test)) == sizes
    assert sorted(np.concatenate([data.train, data.validation, data.test]).tolist()) == list(range(sum(sizes)))
    for part, name in (("validation", "val"), ("test", "test")):
        sent = [file for member, file in members.items() if member.lower().startswith(name)]
        if sent:
            expected = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in sent]).transpose(0, 3, 1, 2)
            np.testing.assert_array_equal(data.images[getattr(data, part)], expected)
    for indices in (data.train, data.validation, data.test):
        assert set(data.labels[indices].tolist()) == {0, 1}


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    data = read_upload(zipped(tmp_path / "file", folders(8, ("bus", "test", "train")))).data
    assert data.classes == ("bus", "test", "train")


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


COLOUR = Image.fromarray(np.arange(16 * 12 * 3, dtype=np.uint8).reshape(12, 16, 3))
GREY = Image.fromarray(np.arange(16 * 12, dtype=np.uint8).reshape(12, 16))
WIDE = Image.fromarray((np.arange(16 * 12, dtype=np.uint16) * 341).reshape(12, 16))
HALF = Image.merge("RGBA", (*COLOUR.split(), Image.fromarray(np.full((12, 16), 51, np.uint8))))
HALF_GREY = Image.merge("LA", (GREY, Image.fromarray(np.full((12, 16), 51, np.uint8))))
PALETTE = COLOUR.quantize(256)
GREY_PALETTE = GREY.convert("P", palette=Image.Palette.WEB)
GREY_PALETTE.putpalette([value for value in range(255, -1, -1) for _ in range(3)])


def over_white(colour: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(colour) * 0.2 + 255 * 0.8  # 51 is a fifth of 255


@pytest.mark.parametrize(
    ("content", "expected", "tolerance"),
    [
        pytest.param(encoded(COLOUR), np.asarray(COLOUR), 0, id="png"),
        pytest.param(encoded(COLOUR, "BMP"), np.asarray(COLOUR), 0, id="bmp"),
        pytest.param(encoded(COLOUR, "TIFF"), np.asarray(COLOUR), 0, id="tiff"),
        pytest.param(encoded(COLOUR, "WEBP", lossless=True), np.asarray(COLOUR), 0, id="webp"),
        pytest.param(encoded(COLOUR, "JPEG", quality=100, subsampling=0), np.asarray(COLOUR), 4, id="jpeg"),
        pytest.param(encoded(PALETTE, "GIF"), np.asarray(PALETTE.convert("RGB")), 0, id="gif"),
        pytest.param(
            encoded(COLOUR, "GIF", save_all=True, append_images=[COLOUR.rotate(180)]),
            np.asarray(COLOUR.convert("P", palette=Image.Palette.ADAPTIVE).convert("RGB")),
            24,
            id="first frame",
        ),
        pytest.param(encoded(PALETTE), np.asarray(PALETTE.convert("RGB")), 0, id="palette"),
        pytest.param(encoded(GREY), np.asarray(GREY), 0, id="grey"),
        pytest.param(encoded(GREY_PALETTE), np.asarray(GREY_PALETTE.convert("L")), 0, id="grey palette"),
        pytest.param(encoded(GREY.convert("1")), np.asarray(GREY.convert("1").convert("L")), 0, id="bilevel"),
        pytest.param(encoded(WIDE), np.round(np.asarray(WIDE) / 257), 0, id="16-bit grey png"),
        pytest.param(encoded(WIDE, "TIFF"), np.round(np.asarray(WIDE) / 257), 0, id="16-bit grey tiff"),
        pytest.param(encoded(HALF), over_white(COLOUR), 1, id="alpha"),
        pytest.param(encoded(HALF_GREY), over_white(GREY), 1, id="grey with alpha"),
        pytest.param(
            encoded(COLOUR.convert("CMYK"), "TIFF"), np.asarray(COLOUR.convert("CMYK").convert("RGB")), 0, id="cmyk"
        ),
        pytest.param(encoded(COLOUR, exif=orientation(6)), np.rot90(np.asarray(COLOUR), -1), 0, id="turned png"),
        pytest.param(
            encoded(GREY, "JPEG", quality=100, exif=orientation(8)), np.rot90(np.asarray(GREY)), 3, id="turned jpeg"
        ),
        pytest.param(
            encoded(COLOUR, "TIFF", exif=orientation(6)), np.rot90(np.asarray(COLOUR), -1), 0, id="turned tiff"
        ),
        pytest.param(encoded(COLOUR, exif=orientation(2)), np.asarray(COLOUR)[:, ::-1], 0, id="mirrored"),
    ],
)
def test_an_image_is_read_as_a_viewer_shows_it(
    content: bytes, expected: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], tolerance: int, tmp_path: Path
) -> None:
    members = {f"{name}/{index}": content for name in "ab" for index in range(7)}  # told by content, not by suffix
    upload = read_upload(zipped(tmp_path / "file", members))
    wanted = expected[np.newaxis] if expected.ndim == 2 else expected.transpose(2, 0, 1)
    assert upload.data.images.shape == (14, *wanted.shape)
    assert np.abs(upload.data.images.astype(float) - wanted).max() <= tolerance
    assert bool([text for text in upload.warnings if "14 images had transparent parts" in text]) == (
        content in (encoded(HALF), encoded(HALF_GREY))
    )


def test_an_opaque_alpha_channel_is_no_warning(tmp_path: Path) -> None:
    members = {f"{name}/{i}": encoded(COLOUR.convert("RGBA")) for name in "ab" for i in range(7)}
    upload = read_upload(zipped(tmp_path / "file", members))
    np.testing.assert_array_equal(upload.data.images[0], np.asarray(COLOUR).transpose(2, 0, 1))
    assert not [text for text in upload.warnings if "transparent" in text]


def test_one_image_with_colour_gives_all_three_channels(tmp_path: Path) -> None:
    members = {f"{name}/{i}": encoded(GREY) for name in "ab" for i in range(7)} | {"b/7": encoded(COLOUR)}
    data = read_upload(zipped(tmp_path / "file", members)).data
    np.testing.assert_array_equal(data.images[0], np.stack([np.asarray(GREY)] * 3))
    np.testing.assert_array_equal(data.images[14], np.asarray(COLOUR).transpose(2, 0, 1))


def stripes(height: int, width: int) -> Image.Image:
    """Left half black, right half white: halves stay halves if the middle is cut out."""
    return Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), width // 2, axis=1).repeat(height, axis=0))


@pytest.mark.parametrize(("size", "side"), [(None, 64), (32, 32)])
def test_images_of_several_sizes_are_scaled_and_their_middle_kept(size: int | None, side: int, tmp_path: Path) -> None:
    shapes = [(40, 400), (200, 100), (64, 64), (16, 20), (900, 1000)]
    members = {f"{n}/{h}-{w}-{i}": encoded(stripes(h, w), "JPEG") for n in "ab" for h, w in shapes for i in range(2)}
    upload = read_upload(zipped(tmp_path / "file", members), size=size)
    assert upload.data.images.shape == (20, 1, side, side)
    middle = slice(side // 2 - side // 8, side // 2 + side // 8)
    for image in upload.data.images[:, 0].astype(int):
        assert image[:, : middle.start].max() < 30
        assert image[:, middle.stop :].min() > 225
    told = [text for text in upload.warnings if "5 sizes" in text and "64×64" in text]
    assert len(told) == (1 if size is None else 0)


def test_scaling_down_averages(tmp_path: Path) -> None:
    board = np.indices((200, 200)).sum(axis=0).astype(np.uint8) % 2 * 255
    members = {f"{n}/{i}": encoded(Image.fromarray(board)) for n in "ab" for i in range(7)}
    upload = read_upload(zipped(tmp_path / "file", members))
    assert upload.data.images.shape[2:] == (64, 64)
    assert np.abs(upload.data.images.astype(int) - 127).max() <= 15  # a picked pixel would be 0 or 255
    assert "200×200" in upload.warnings[0]


@pytest.mark.parametrize("side", [8, 9, 128])
def test_small_images_of_one_size_are_kept(side: int, tmp_path: Path) -> None:
    upload = read_upload(zipped(tmp_path / "file", folders(7, side=side)))
    assert upload.data.images.shape[2:] == (side, side)
    assert "size" not in "".join(upload.warnings)


@pytest.mark.parametrize("size", [7, 513, 0, -1])
def test_a_size_out_of_range_is_refused(size: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_upload(zipped(tmp_path / "file", folders()), size=size)
    assert (caught.value.field, caught.value.value) == ("size", size)


def info(name: str, kind: int = 0, compress_type: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr = (kind | 0o644) << 16
    made.compress_type = compress_type
    return made


PNG = encoded(pixels(1, seed=9)[0])


@pytest.mark.parametrize(
    ("member", "content", "mend"),
    [
        (info("../dog/x.png"), PNG, "inside"),
        (info("dog/../../x.png"), PNG, "inside"),
        (info("/dog/x.png"), PNG, "inside"),
        (info("C:/dog/x.png"), PNG, "inside"),
        (info("dog\\x.png"), PNG, "inside"),
        (info("dog//x.png"), PNG, "inside"),
        (info("./dog/x.png"), PNG, "inside"),
        (info("__MACOSX/../../x.png"), PNG, "inside"),
        (info("dog/x\n.png"), PNG, "control"),
        (info("dog/x\x7f.png"), PNG, "control"),
        (info("dog/x\x85.png"), PNG, "control"),
        (info("d\u2028og/x.png"), PNG, "control"),
        (info("dog/x.png", stat.S_IFLNK), b"/etc/passwd", "link"),
        (info("dog/x.png", stat.S_IFIFO), b"", "link"),
        (info("dog/x.png", compress_type=zipfile.ZIP_BZIP2), PNG, "deflate"),
        (info("dog/x.png", compress_type=zipfile.ZIP_LZMA), PNG, "deflate"),
        (info("dog/x.txt"), b"text", "decode"),
        (info("dog/x.png"), b"", "decode"),
        (info("dog/x.png"), PNG[:-60], "decode"),
        (info("dog/x.svg"), b"<svg xmlns='http://www.w3.org/2000/svg'/>", "decode"),
        (info("dog/x.ico"), encoded(COLOUR, "ICO"), "decode"),
        (info("dog/x.tif"), encoded(Image.new("F", (8, 8)), "TIFF"), "32 bits"),
        (info("dog/more/x.png"), PNG, "directly"),
        (info("x.png"), PNG, "no class folder"),
        (info("owl/x.png"), PNG, "at least 7"),
        (info("o" * 201 + "/x.png"), PNG, "200 letters"),
        (info("  /x.png"), PNG, "200 letters"),
    ],
    ids=lambda value: ascii(value.filename) if isinstance(value, zipfile.ZipInfo) else "",
)
def test_the_first_offending_entry_is_named(member: zipfile.ZipInfo, content: bytes, mend: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "file", "w") as file:
        for name, good in folders(7).items():
            file.writestr(name, good)
        file.writestr(member, content)
    refused = refusal(tmp_path / "file")
    assert mend in refused.mend
    assert refused.value in (member.filename, member.filename.split("/")[0])


def test_a_name_that_hides_behind_a_null_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "file", folders(7) | {"dog/x#.png": PNG})
    path.write_bytes(path.read_bytes().replace(b"dog/x#.png", b"dog/x\0.png"))
    assert refusal(path).value == "dog/x\0.png"


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped(tmp_path / "file", folders(7)).read_bytes())
    at = content.index(b"PK\1\2")
    content[at + 8] |= 1
    (tmp_path / "file").write_bytes(content)
    refused = refusal(tmp_path / "file")
    assert refused.value == "cat/0.png"
    assert refused.mend.startswith("it is encrypted")


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "file", "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in [*folders(7), "dog/3.png"]:
            file.writestr(name, PNG)
    refused = refusal(tmp_path / "file")
    assert refused.value == "dog/3.png"
    assert "twice" in refused.mend


@pytest.mark.parametrize(
    ("members", "value", "mend"),
    [
        ({}, "an empty archive", "folder for each class"),
        ({"README.txt": b"?"}, "README.txt", "folder for each class"),
        (folders(9, ("cat",)), "cat", "two or more classes"),
        (names_of(9, "train") | names_of(9, "test", ("cat",)), "test/dog", "every part"),
        (names_of(9, "train", ("cat",)) | names_of(9, "test"), "train/dog", "every part"),
        (names_of(9, "val") | names_of(9, "test"), "test/cat/0.png", "train folder"),
        (names_of(9, "train") | names_of(9, "val") | names_of(9, "valid"), "train/cat/0.png", "same part"),
        (names_of(9, "train") | names_of(9, "test") | {"test/9.png": PNG}, "test/9.png", "directly"),
        (names_of(9, "train") | names_of(9, "test") | names_of(9, "extra"), "extra/cat/0.png", "directly"),
        (names_of(6, "train") | names_of(9, "test"), "cat", "at least 7"),
    ],
)
def test_archives_without_the_classes_of_a_set_are_refused(
    members: dict[str, bytes], value: str, mend: str, tmp_path: Path
) -> None:
    refused = refusal(zipped(tmp_path / "file", members))
    assert refused.value == value
    assert mend in refused.mend


def test_files_beside_the_folders_are_skipped_with_a_warning(tmp_path: Path) -> None:
    around = {f"data/{name}": content for name, content in folders(7).items()}
    for members in (folders(7) | {"README.txt": b"?"}, around | {"data/LICENSE": b"?", "README.txt": b"?"}):
        upload = read_upload(zipped(tmp_path / "file", members))
        assert upload.data.classes == ("cat", "dog")
        assert "README.txt" in upload.warnings[0]


@pytest.mark.parametrize(
    ("limits", "value"),
    [
        (Limits(max_members=13), "dog/6.png"),
        (Limits(max_unpacked_bytes=1000), "cat/3.png"),
        (Limits(max_image_bytes=100), "cat/0.png"),
        (Limits(max_image_pixels=63), "cat/0.png"),
        (Limits(max_decoded_bytes=14 * 3 * 64 - 1), "14 images of 8×8 pixels"),
    ],
)
def test_more_than_the_limits_is_refused(limits: Limits, value: str, tmp_path: Path) -> None:
    members = {name: encoded(pixels(1, seed=index)[0]) for index, name in enumerate(folders(7))}
    assert {200 < len(content) < 300 for content in members.values()} == {True}
    path = zipped(tmp_path / "file", members)
    assert refusal(path, limits=limits).value == value
    enough = Limits(max_members=14, max_image_pixels=64, max_decoded_bytes=14 * 3 * 64)
    assert len(read_upload(path, limits=enough).data.images) == 14


def test_what_unpacks_to_far_more_than_came_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "file", folders(7) | {"dog/bomb.png": bytes(4 << 20)})
    refused = refusal(path)
    assert refused.value == "dog/bomb.png"
    assert "200 times" in refused.mend
    assert "decode" in refusal(path, limits=Limits(max_ratio=1000.0)).mend


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """Each has an honest ratio of 100, but all thousand of them are the same bytes of the file."""
    path = tmp_path / "file"
    content = b"".join(bytes([byte]) * 100 for byte in np.random.default_rng(0).integers(0, 256, 500).tolist())
    zipped(path, {"cat/0.png": content})
    whole = path.read_bytes()
    at, end = whole.index(b"PK\1\2"), whole.index(b"PK\5\6")
    entries = b"".join(whole[at:end].replace(b"cat/0.png", f"c{index:04}.png".encode()) for index in range(1000))
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1000, 1000, len(entries), at, 0)
    path.write_bytes(whole[:at] + entries + tail)
    assert len(zipfile.ZipFile(path).infolist()) == 1000
    assert "200 times" in refusal(path).mend


def test_a_member_that_is_longer_than_it_says_is_refused_and_not_unpacked(tmp_path: Path) -> None:
    path = zipped(tmp_path / "file", folders(7) | {"dog/bomb.png": bytes(200 << 20)})
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\1\2") + 24
    content[at : at + 4] = struct.pack("<L", 1000)
    path.write_bytes(content)
    tracemalloc.start()
    assert refusal(path).value == "dog/bomb.png"
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 20 << 20


def test_a_directory_of_too_many_members_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "file", {"a/0.png": PNG})
    whole = path.read_bytes()
    at, end = whole.index(b"PK\1\2"), whole.index(b"PK\5\6")
    entries = whole[at:end] * 100_000
    path.write_bytes(whole[:at] + entries + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, len(entries), at, 0))
    tracemalloc.start()
    assert "at most 2,000 members" in refusal(path, limits=Limits(max_members=2000)).mend
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    assert "at most 20,000 members" in refusal(path, limits=Limits(max_members=20_000)).mend
    assert tracemalloc.get_traced_memory()[1] < 60 << 20
    tracemalloc.stop()


def huge_png() -> bytes:
    """A PNG that says it has 60,000 × 60,000 pixels."""
    content = bytearray(encoded(Image.new("L", (8, 8))))
    content[16:24] = struct.pack(">LL", 60_000, 60_000)
    import zlib

    content[29:33] = struct.pack(">L", zlib.crc32(content[12:29]))
    return bytes(content)


def large_png() -> bytes:
    return encoded(Image.new("1", (9500, 9500)))  # Pillow warns of these; of four times as many it raises an error


@pytest.mark.parametrize("content", [huge_png, large_png])
def test_an_image_of_too_many_pixels_is_named_without_a_warning(content: Callable[[], bytes], tmp_path: Path) -> None:
    path = zipped(tmp_path / "file", folders(7) | {"dog/large.png": content()})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        refused = refusal(path)
    assert refused.value == "dog/large.png"
    assert "50,000,000 pixels" in refused.mend
    assert not caught


@pytest.mark.parametrize(
    ("content", "mend"),
    [
        (b"", "empty"),
        (b"PK\3\4", "damaged"),
        (b"PK\5\6", "damaged"),
        (b"\x1f\x8b\x08 tar", "gzip"),
        (b"Rar!\x1a\x07", "RAR"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"cat,dog\n1,2\n", "no known kind"),
        (PNG, "one PNG image"),
    ],
)
def test_other_files_are_refused_by_kind(content: bytes, mend: str, tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(content)
    refused = refusal(path)
    assert refused.value == "set.zip"
    assert mend in refused.mend
