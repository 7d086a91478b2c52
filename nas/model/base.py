"""What all networks have in common: how they are called, trained and stripped."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from nas.model.chance import Noise, drop
from nas.model.layout import keep_format


class Network(nn.Module, ABC):
    """Feature maps, global average pooling, dropout, linear classifier: [N, in_channels, H, W] → logits [N, outputs].

    Attributes:
        auxiliary: weight of the auxiliary head's loss; 0.0 where there is none.
        auxiliary_head: on the feature maps of the middle, or None.
        progress: share of the training done; see set_progress.
        noise: where dropout and drop-path draw from.
        dropout: share of the features that is dropped before the classifier in training.
    """

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.auxiliary = 0.0
        self.auxiliary_head: nn.Module | None = None
        self.progress = 0.0
        self.noise = Noise()
        self.dropout = dropout

    classifier: nn.Linear

    @abstractmethod
    def features(self, x: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n a i j"], Float[Tensor, "n b k l"]]:
        """The feature maps at the end, and those that the auxiliary head looks at."""

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n outputs"]:
        """See the class."""
        return self._classify(self.features(x)[0])

    def both(self, x: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, "n outputs"]]:
        """The logits, and those of the auxiliary head. Raises ValueError where there is none."""
        if self.auxiliary_head is None:
            raise ValueError("this network has no auxiliary head; its shape says auxiliary: 0")
        last, middle = self.features(x)
        return self._classify(last), self.auxiliary_head(middle)

    def set_progress(self, share: float) -> None:
        """Says how much of the training is done, 0 to 1: what grows with it is drop-path's probability."""
        self.progress = share

    def _classify(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n outputs"]:
        pooled = keep_format(features).mean(dim=(2, 3))
        logits: Tensor = self.classifier(drop(pooled, self.dropout if self.training else 0.0, self.noise))
        return logits


def strip_auxiliary(network: Network) -> Network:
    """Takes the auxiliary head off, in place, and returns the network.

    Its state is then that of a network of nas.model.without_auxiliary(candidate), which is what a package holds.
    """
    network.auxiliary_head = None
    network.auxiliary = 0.0
    return network
