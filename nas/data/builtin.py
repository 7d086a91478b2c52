"""Data sets that can be asked for by name without an upload."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nas.data.fetch import Published
from nas.data.images import ImageSet, split_images
from nas.data.published import SPLIT_SEED, CifarSet, IdxSet

MNIST_MIRRORS: Final = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)
FASHION_MIRRORS: Final = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)
CIFAR10_MIRRORS: Final = (
    "https://www.cs.toronto.edu/~kriz/",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
)
CIFAR100_MIRRORS: Final = (
    "https://www.cs.toronto.edu/~kriz/",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR100/",
)

MNIST: Final = IdxSet(
    "mnist",
    (
        Published("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", MNIST_MIRRORS),
        Published("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", MNIST_MIRRORS),
        Published("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", MNIST_MIRRORS),
        Published("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", MNIST_MIRRORS),
    ),
    tuple("0123456789"),
)
FASHION_MNIST: Final = IdxSet(
    "fashion_mnist",
    (
        Published("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", FASHION_MIRRORS),
        Published("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", FASHION_MIRRORS),
        Published("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", FASHION_MIRRORS),
        Published("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", FASHION_MIRRORS),
    ),
    ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
CIFAR10: Final = CifarSet(
    "cifar10",
    Published("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", CIFAR10_MIRRORS),
    train=tuple(f"cifar-10-batches-bin/data_batch_{batch}.bin" for batch in range(1, 6)),
    test="cifar-10-batches-bin/test_batch.bin",
    classes="cifar-10-batches-bin/batches.meta.txt",
    label_bytes=1,
)
CIFAR100: Final = CifarSet(
    "cifar100",
    Published("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", CIFAR100_MIRRORS),
    train=("cifar-100-binary/train.bin",),
    test="cifar-100-binary/test.bin",
    classes="cifar-100-binary/fine_label_names.txt",
    label_bytes=2,  # the coarse label stands before the fine one
)


@dataclass(frozen=True, slots=True)
class Builtin:
    """A data set that comes with the service: what it is, and how to get it."""

    summary: str
    read: Callable[[Path | None], ImageSet]

    def load(self, folder: Path | None = None) -> ImageSet:
        """Gets the data set.

        Args:
            folder: where published files are looked for, each data set's in a folder of its name, and where they are
                kept once fetched. None keeps nothing.

        Raises:
            NotReady: the files are not there and no mirror has them.
        """
        return self.read(folder)


def _digits(_: Path | None) -> ImageSet:
    from sklearn.datasets import load_digits  # a second of imports that only the first job on digits needs

    bunch = load_digits()
    # The grey values stay as scikit-learn has them, 0 to 16, so that the exported model takes its images as they are.
    images = bunch.images.astype(np.uint8)[:, np.newaxis]
    names = tuple(str(name) for name in bunch.target_names)
    return split_images(images, bunch.target.astype(np.int64), names, seed=SPLIT_SEED)


BUILTIN: Final = {
    "digits": Builtin("scikit-learn's handwritten digits: 1,797 grey images of 8×8 pixels in 10 classes", _digits),
    "mnist": Builtin("MNIST's handwritten digits: 70,000 grey images of 28×28 pixels in 10 classes", MNIST.read),
    "fashion_mnist": Builtin(
        "Fashion-MNIST, clothes: 70,000 grey images of 28×28 pixels in 10 classes", FASHION_MNIST.read
    ),
    "cifar10": Builtin("CIFAR-10, objects: 60,000 colour images of 32×32 pixels in 10 classes", CIFAR10.read),
    "cifar100": Builtin("CIFAR-100, objects: 60,000 colour images of 32×32 pixels in 100 classes", CIFAR100.read),
}
"""Name → data set."""
