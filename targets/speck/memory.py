"""How much of a core's memories a layer takes (sinabs' documented formulas: powers of two, rounded up)."""

from __future__ import annotations

from dataclasses import dataclass

from nirhw.hardware import Hardware

from .geometry import Frame
from .layers import Layer, Region

MEMORIES = ("kernel", "neuron", "bias")


def bits_for(count: int) -> int:
    """Return the address bits of ``count`` items: the logarithm to base 2, rounded up."""
    return max(count - 1, 0).bit_length()


@dataclass(frozen=True)
class Need:
    """What a region of a layer needs on a core.

    Attributes:
        in_channels: channels that arrive.
        kernel_size: side of the kernel.
        height, width: of the map.
        has_bias: whether biases are stored.
    """

    in_channels: int
    kernel_size: int
    height: int
    width: int
    has_bias: bool

    @classmethod
    def of(cls, layer: Layer, region: Region, frame: Frame, has_bias: bool) -> Need:
        """Return the need of one region of a layer."""
        return cls(layer.in_channels, frame.kernel_size, region.height, region.width, has_bias)

    def words(self, channels: int) -> dict[str, int]:
        """Return the words of each memory that ``channels`` output channels take."""
        return {
            "kernel": self.in_channels << (bits_for(self.kernel_size**2) + bits_for(channels)),
            "neuron": channels << (bits_for(self.height) + bits_for(self.width)),
            "bias": channels if self.has_bias else 0,
        }

    def most_channels(self, core: int, hardware: Hardware, unlimited: str = "") -> int:
        """Return how many channels fit a core at most; ``unlimited`` names a memory that is taken as endless."""
        per_kernel = self.in_channels << bits_for(self.kernel_size**2)
        most = {
            "kernel": floor_power(hardware[f"kernel_words_{core}"] // per_kernel),
            "neuron": hardware[f"neuron_words_{core}"] >> (bits_for(self.height) + bits_for(self.width)),
            "bias": hardware[f"bias_words_{core}"] if self.has_bias else hardware["channels"],
        }
        return min(hardware["channels"], *(n for memory, n in most.items() if memory != unlimited))


def floor_power(count: int) -> int:
    """Return the largest power of two up to ``count``, 0 for 0."""
    return 1 << (count.bit_length() - 1) if count else 0
