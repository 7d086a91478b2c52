import io
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numpy.lib import format as npy

from nas.data.upload import Limits, read_upload
from tests.data.files import npz, pixels, refusal, zipped

IMAGES = pixels(20)
LABELS = np.arange(20) % 2
ONE_EACH = np.eye(2, dtype=np.int64)[LABELS]
FIRST = IMAGES.transpose(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        pytest.param(IMAGES, FIRST, id="channels last"),
        pytest.param(FIRST, FIRST, id="channels first"),
        pytest.param(np.ascontiguousarray(IMAGES[..., 0]), FIRST[:, :1], id="no channels"),
        pytest.param(IMAGES[..., :1], FIRST[:, :1], id="one channel last"),
        pytest.param(FIRST[:, :1], FIRST[:, :1], id="one channel first"),
    ],
)
def test_images_are_read_in_every_layout(
    images: npt.NDArray[np.uint8], expected: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    data = read_upload(npz(tmp_path / "file", images=images, labels=LABELS)).data
    np.testing.assert_array_equal(data.images, expected, strict=True)
    assert data.labels.tolist() == LABELS.tolist()
    assert data.task == "single_label"
    assert data.classes == ("0", "1")


def test_a_compressed_file_is_read_too_and_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.data.arrays.BLOCK_BYTES", 1000)  # five images of 192 bytes
    np.savez_compressed(tmp_path / "set.npz", images=IMAGES, labels=LABELS)
    data = read_upload(tmp_path / "set.npz").data
    np.testing.assert_array_equal(data.images, FIRST)


def test_an_array_file_may_be_of_any_version_and_order_that_numpy_writes(tmp_path: Path) -> None:
    labels, rows = io.BytesIO(), io.BytesIO()
    npy.write_array(labels, LABELS.astype(">i2"), version=(2, 0))
    npy.write_array(rows, np.asfortranarray(np.stack([LABELS, 1 - LABELS, LABELS], axis=1)))
    images = io.BytesIO()
    npy.write_array(images, IMAGES)
    two = zipped(tmp_path / "a", {"images.npy": images.getvalue(), "labels.npy": labels.getvalue()})
    assert read_upload(two).data.labels.tolist() == LABELS.tolist()
    fortran = zipped(tmp_path / "b", {"images.npy": images.getvalue(), "labels.npy": rows.getvalue()})
    assert read_upload(fortran).data.labels[:, 1].tolist() == (1 - LABELS).tolist()


@pytest.mark.parametrize(
    ("labels", "classes", "task", "names", "dtype"),
    [
        (LABELS.astype(np.uint8), None, "single_label", ("0", "1"), np.int64),
        (LABELS[:, np.newaxis], ["cat", "dog"], "single_label", ("cat", "dog"), np.int64),
        (LABELS.astype(bool), [b"cat", b"dog"], "single_label", ("cat", "dog"), np.int64),
        (ONE_EACH, None, "multi_label", ("label 0", "label 1"), np.uint8),
        (np.stack([LABELS, LABELS], 1).astype(bool), ["wet", "cold"], "multi_label", ("wet", "cold"), np.uint8),
        (LABELS / 3, None, "regression", ("target",), np.float32),
        (np.arange(40, dtype=np.float16).reshape(20, 2), ["x", "y"], "regression", ("x", "y"), np.float32),
    ],
    ids=str,
)
def test_the_kind_of_labels_decides_the_task(
    labels: npt.NDArray[Any],
    classes: list[str] | None,
    task: str,
    names: tuple[str, ...],
    dtype: type[np.generic],
    tmp_path: Path,
) -> None:
    given = {} if classes is None else {"classes": np.array(classes)}
    upload = read_upload(npz(tmp_path / "file", images=IMAGES, labels=labels, **given))
    data = upload.data
    assert (data.task, data.classes, data.outputs) == (task, names, len(names))
    expected = labels.reshape(-1) if task == "single_label" else labels.reshape(20, -1)
    np.testing.assert_array_equal(data.labels, expected.astype(dtype), strict=True)
    if task == "regression":
        assert upload.counts == {}
    else:
        held = np.eye(2)[data.labels] if task == "single_label" else data.labels
        assert upload.counts == dict(zip(names, held.sum(axis=0), strict=True))
    assert any("exactly one label" in text for text in upload.warnings) == (labels is ONE_EACH)


def test_targets_that_look_like_labels_are_told(tmp_path: Path) -> None:
    upload = read_upload(npz(tmp_path / "file", images=IMAGES, labels=ONE_EACH.astype(float)))
    assert upload.data.task == "regression"
    assert any("as integers" in text for text in upload.warnings)


def test_the_layout_of_keras_keeps_its_test_images(tmp_path: Path) -> None:
    test = pixels(6, seed=1)
    arrays = {"x_train": IMAGES, "y_train": LABELS[:, np.newaxis], "x_test": test, "y_test": LABELS[:6, np.newaxis]}
    data = read_upload(npz(tmp_path / "file", **arrays)).data
    np.testing.assert_array_equal(data.images[data.test], test.transpose(0, 3, 1, 2))
    assert len(data.train) == 16
    assert set(np.concatenate([data.train, data.validation]).tolist()) == set(range(20))
    alone = read_upload(npz(tmp_path / "file", x_train=IMAGES, y_train=LABELS)).data
    assert (len(alone.train), len(alone.validation), len(alone.test)) == (12, 4, 4)


def test_a_given_split_is_kept(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(20).astype(np.int32)
    parts = {"train": order[:14], "validation": order[14:17], "test": order[17:]}
    labels = np.zeros(20, dtype=np.int64)
    labels[order[::2]] = 1
    data = read_upload(npz(tmp_path / "file", images=IMAGES, labels=labels, **parts)).data
    for name, indices in parts.items():
        assert getattr(data, name).tolist() == sorted(indices.tolist())


def test_images_that_are_large_are_scaled_to_the_frame(tmp_path: Path) -> None:
    halves = np.zeros((20, 150, 300, 3), dtype=np.uint8)
    halves[:, :, 150:] = (255, 128, 0)
    for images in (halves, np.ascontiguousarray(halves.transpose(0, 3, 1, 2)), np.ascontiguousarray(halves[..., 0])):
        upload = read_upload(npz(tmp_path / "file", images=images, labels=LABELS))
        assert upload.data.images.shape[2:] == (64, 64)
        assert upload.data.images[:, :, :, :28].max() == 0
        assert (upload.data.images[:, 0, :, 36:] == 255).all()
        if images.ndim == 4:
            assert (upload.data.images[:, 1:, 5, 40] == (128, 0)).all()
        assert "300×150" in upload.warnings[0]


def test_arrays_that_are_not_read_are_named(tmp_path: Path) -> None:
    upload = read_upload(npz(tmp_path / "file", images=IMAGES, labels=LABELS, extra=LABELS))
    assert any("extra" in text for text in upload.warnings)


def with_one(array: npt.NDArray[Any], value: Any) -> npt.NDArray[Any]:
    changed = array.copy()
    changed[3] = value
    return changed


OBJECTS = np.array([{"a": 1}] * 20, dtype=object)
FLOATS = LABELS / 3


@pytest.mark.parametrize(
    ("arrays", "value", "mend"),
    [
        ({"images": IMAGES}, "['images']", "labels is missing"),
        ({"labels": LABELS}, "['labels']", "images is missing"),
        ({"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES}, "x_train", "y_test is missing"),
        ({"images": IMAGES / 255, "labels": LABELS}, "float64", "0 to 255"),
        ({"images": IMAGES.astype(np.int16), "labels": LABELS}, "int16", "uint8"),
        ({"images": IMAGES[:, 0, 0], "labels": LABELS}, "(20, 3)", "[N, H, W, C]"),
        ({"images": IMAGES[:, :3], "labels": LABELS}, "(20, 3, 8, 3)", "both ends"),
        ({"images": pixels(20, channels=4), "labels": LABELS}, "(20, 8, 8, 4)", "C 1 or 3"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "(0, 8, 8, 3)", "[N, H, W]"),
        ({"images": np.asfortranarray(IMAGES), "labels": LABELS}, "images", "ascontiguousarray"),
        ({"images": IMAGES, "labels": LABELS[:19]}, "labels of shape (19,)", "20 images"),
        ({"images": IMAGES, "labels": np.int64(3)}, "labels of shape ()", "20 images"),
        ({"images": IMAGES, "labels": LABELS - 1}, "labels: -1", "from 0"),
        ({"images": IMAGES, "labels": with_one(LABELS, 21)}, "labels: 21", "0 to 20"),
        ({"images": IMAGES, "labels": LABELS.astype(np.uint64) * (2**64 - 1)}, str(2**64 - 1), "0 to 20"),
        ({"images": IMAGES, "labels": LABELS * 2}, "'1'", "at least 7"),
        ({"images": IMAGES, "labels": LABELS * 0}, "'0'", "two or more"),
        ({"images": IMAGES, "labels": (np.arange(20) > 13).astype(int)}, "'1'", "at least 7"),
        ({"images": IMAGES, "labels": ONE_EACH * 2}, "labels: 2", "0 or 1"),
        ({"images": IMAGES, "labels": ONE_EACH * [1, 0]}, "'label 1'", "at least 7"),
        ({"images": IMAGES, "labels": with_one(FLOATS, np.nan)}, "labels[3]: [nan]", "finite"),
        ({"images": IMAGES, "labels": with_one(FLOATS, np.inf)}, "labels[3]: [inf]", "finite"),
        ({"images": IMAGES, "labels": with_one(FLOATS, 1e300)}, "1e+300", "finite"),
        ({"images": IMAGES, "labels": FLOATS * 0}, "'target'", "nothing to learn"),
        ({"images": IMAGES[:6], "labels": FLOATS[:6]}, "6 images", "at least 7"),
        ({"images": IMAGES, "labels": OBJECTS}, "labels.npy", "Python objects"),
        ({"images": IMAGES, "labels": np.array(["cat", "dog"] * 10)}, "<U3", "integers [N]"),
        ({"images": IMAGES, "labels": LABELS.astype("M8[s]")}, "datetime", "integers [N]"),
        ({"images": IMAGES, "labels": np.zeros(20, dtype=[("a", "i4")])}, "labels.npy", "Python objects"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(["cat"])}, "labels: 1", "0 to 0"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(["cat", "cat"])}, "'cat'", "differ"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(["cat", "d\nog"])}, "d\\nog", "control"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(["cat", "dog", "owl"])}, "'owl'", "at least 7"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array([1, 2])}, "classes", "list of names"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array([b"\xff", b"a"])}, "classes", "UTF-8"),
        ({"images": IMAGES, "labels": FLOATS, "classes": np.array(["a", "b"])}, "2 classes", "1 targets"),
        ({"images": IMAGES, "labels": LABELS, "test": np.arange(5)}, "['test']", "train"),
        ({"images": IMAGES, "labels": LABELS, "train": np.arange(20), "test": np.arange(5)}, "image 0", "exactly one"),
        ({"images": IMAGES, "labels": LABELS, "train": np.arange(1, 20)}, "image 0", "exactly one"),
        ({"images": IMAGES, "labels": LABELS, "train": np.arange(21)}, "20", "0..19"),
        ({"images": IMAGES, "labels": LABELS, "train": np.arange(20) - 1}, "-1", "0..19"),
        ({"images": IMAGES, "labels": LABELS, "train": np.arange(20), "test": LABELS[:0]}, "no images", "leave it out"),
        ({"images": IMAGES, "labels": LABELS, "train": np.arange(20.0)}, "float64", "list of indices"),
        ({"images": IMAGES, "labels": LABELS, "train": np.arange(20), "test": OBJECTS}, "test.npy", "Python objects"),
        (
            {"images": IMAGES, "labels": LABELS, "train": np.r_[0:16, 17, 19], "test": np.array([16, 18])},
            "'1'",
            "test has 0 images",
        ),
    ],
    ids=lambda value: "",
)
def test_arrays_that_are_no_data_set_are_refused(arrays: dict[str, Any], value: str, mend: str, tmp_path: Path) -> None:
    refused = refusal(npz(tmp_path / "file", **arrays))
    assert value in str(refused)
    assert mend in refused.mend or mend in str(refused)


def header(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"shape": shape, "fortran_order": False, "descr": descr})
    return buffer.getvalue()


WHOLE = header((20, 8, 8, 3)) + IMAGES.tobytes()
DAMAGED = {
    "images that are not there": header((1000, 64, 64, 3)),
    "a negative side": header((100, -64, 64, 3)),
    "a byte too few": WHOLE[:-1],
    "sides beyond 64 bits": header((1 << 60, 1 << 60)),
    "nested too deep": b"\x93NUMPY\x01\0" + struct.pack("<H", 6000) + b"(" * 6000,
    "another header's version": b"\x93NUMPY\x03\0" + WHOLE[8:],
    "an unknown version": b"\x93NUMPY\x09\0",
    "nothing else": b"\x93NUMPY",
}


def of_contents(path: Path, **changed: bytes) -> Path:
    labels = io.BytesIO()
    npy.write_array(labels, LABELS)
    contents = {"images": WHOLE, "labels": labels.getvalue()} | changed
    return zipped(path, {f"{name}.npy": content for name, content in contents.items()})


@pytest.mark.parametrize("name", ["images", "labels"])
@pytest.mark.parametrize("how", DAMAGED)
def test_an_array_that_is_not_what_it_says_is_named(how: str, name: str, tmp_path: Path) -> None:
    assert f"{name}.npy" in str(refusal(of_contents(tmp_path / "file", **{name: DAMAGED[how]})))


@pytest.mark.parametrize("how", DAMAGED)
def test_no_room_is_made_for_images_that_are_not_there(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("nas.data.arrays.allocate", never)
    refusal(of_contents(tmp_path / "file", images=DAMAGED[how]))


def test_an_array_with_more_data_than_its_shape_is_refused(tmp_path: Path) -> None:
    assert "images.npy" in str(refusal(of_contents(tmp_path / "file", images=WHOLE + b"?")))


def test_a_changed_pixel_is_noticed(tmp_path: Path) -> None:
    path = npz(tmp_path / "file", images=IMAGES, labels=LABELS)
    content = bytearray(path.read_bytes())
    content[content.index(IMAGES.tobytes()) + 1000] ^= 1
    path.write_bytes(content)
    assert "CRC" in refusal(path).mend


def test_more_than_the_limits_is_refused(tmp_path: Path) -> None:
    path = npz(tmp_path / "file", images=IMAGES, labels=LABELS)
    np.savez_compressed(tmp_path / "bomb.npz", images=np.zeros((20, 400, 400), dtype=np.uint8), labels=LABELS)
    assert "200 times" in refusal(tmp_path / "bomb.npz").mend
    assert "at most 19 images" in refusal(path, limits=Limits(max_members=19)).mend
    assert "decode to 3,840" in refusal(path, limits=Limits(max_decoded_bytes=3839)).mend
    assert "at most 21 pixels" in refusal(path, limits=Limits(max_image_pixels=21)).mend.replace(
        "images of ", "at most "
    )


def test_a_large_set_lies_in_a_file_that_nobody_has_to_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.data.pixels.IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = npz(tmp_path / "file", images=IMAGES, labels=LABELS)
    data = read_upload(path).data
    assert isinstance(data.images, np.memmap)
    np.testing.assert_array_equal(data.images, FIRST)
    assert list((tmp_path / "temporary").iterdir()) == []
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("train.npy", b"?")
    refusal(path)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert {entry.name for entry in tmp_path.iterdir()} == {"file", "temporary"}


def test_a_full_disk_is_not_the_users_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nas.data.pixels.IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        read_upload(npz(tmp_path / "file", images=IMAGES, labels=LABELS))
