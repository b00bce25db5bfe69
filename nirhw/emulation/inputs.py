"""Checks of what users feed in: spikes, labels and names of populations to record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error, printable
from nirhw.operators import Shape, size_of

Counts = NDArray[np.int64]


def as_counts(spikes: Any, inputs: Mapping[str, Shape], peak: int | None = None) -> tuple[dict[str, Counts], bool]:
    """Return spike counts ``[batch, time, size]`` by input name, and whether the caller's arrays had a batch axis.

    Args:
        spikes: an array ``(T, *in)`` or ``(B, T, *in)``, or a dict of such arrays by input name where there are several
            inputs; bool, integers, or floats that are whole.
        inputs: shape of every input.
        peak: largest count a step and channel that the model was compiled for, where it was.

    Raises:
        InputError: NIRHW-E050 for shapes, NIRHW-E051 for types and values.
    """
    given = spikes if isinstance(spikes, Mapping) else {next(iter(inputs)): spikes}
    if set(given) != set(inputs):
        raise error(
            "NIRHW-E050",
            f"spikes are given for {sorted(map(str, given))}, the inputs are {sorted(inputs)}",
            fix="pass a dict of one array by input name",
        )
    checked = {name: _one_input(name, given[name], shape, peak) for name, shape in inputs.items()}
    arrays = {name: counts for name, (counts, _) in checked.items()}
    sizes = {counts.shape[:2] for counts in arrays.values()}
    flags = {batched for _, batched in checked.values()}
    if len(sizes) > 1 or len(flags) > 1:
        raise error("NIRHW-E050", f"inputs differ in batch or time: {sorted(sizes)}", tuple(inputs))
    return arrays, flags.pop()


def in_chunks(counts: Mapping[str, Counts], inputs: Mapping[str, Shape], size: int) -> Iterator[dict[str, Counts]]:
    """Yield ``size`` samples after the other of checked ``counts[name][batch, time, size]``, in the shapes of the inputs."""
    shaped = {name: array.reshape(*array.shape[:2], *inputs[name]) for name, array in counts.items()}
    for first in range(0, next(iter(counts.values())).shape[0], size):
        yield {name: array[first : first + size] for name, array in shaped.items()}


def _one_input(name: str, spikes: Any, shape: Shape, peak: int | None) -> tuple[Counts, bool]:
    try:
        array = np.asarray(spikes)
    except (TypeError, ValueError):
        raise error(
            "NIRHW-E050", "spikes are no regular array", [name], fix="give every sample and step the same shape"
        ) from None
    rank = len(shape)
    if array.ndim not in (rank + 1, rank + 2) or array.shape[array.ndim - rank :] != shape:
        want = ", ".join(map(str, shape))
        raise error(
            "NIRHW-E050",
            f"spikes have shape {array.shape}",
            [name],
            f"this input takes (T, {want}) or (B, T, {want})",
            "put time before the channels, and the batch before time",
        )
    if array.dtype.kind not in "buif":
        raise error("NIRHW-E051", f"spikes are of type {array.dtype}", [name], fix="pass bool, integers or whole floats")
    counts = _whole_numbers(name, array)
    if peak is not None and counts.size and counts.max() > peak:
        raise error(
            "NIRHW-E051",
            f"a count of {counts.max()} is above the input peak of {peak}",
            [name],
            "the model was compiled for at most that many spikes per channel and step",
            f"compile with options={{'input_peak': {counts.max()}}}",
        )
    batched = array.ndim == rank + 2
    lead = array.shape[:2] if batched else (1, array.shape[0])
    return counts.reshape(*lead, size_of(shape)), batched


def _whole_numbers(name: str, array: NDArray[Any]) -> Counts:
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise error("NIRHW-E051", "spikes hold NaN or infinite values", [name])
        if np.any(array != np.floor(array)):
            raise error(
                "NIRHW-E051",
                "spikes hold fractions",
                [name],
                "a spike count is a whole number",
                "encode analog values as spikes first",
            )
    if array.dtype.kind != "b" and array.size and array.min() < 0:
        raise error("NIRHW-E051", "spikes hold negative counts", [name], fix="use a channel of its own for each polarity")
    if array.dtype.kind != "b" and array.size and float(array.max()) > float(1 << 62):
        raise error("NIRHW-E051", "spike counts are too large", [name])
    return array.astype(np.int64, copy=False)


def as_labels(labels: Any, samples: int) -> NDArray[np.int64]:
    """Return class labels ``(B,)``; raises InputError NIRHW-E052 where they do not suit the samples."""
    try:
        array = np.asarray(labels)
    except (TypeError, ValueError):
        raise error("NIRHW-E052", "labels are no regular array", why=f"{samples} samples need {samples} whole numbers") from None
    if array.shape != (samples,) or array.dtype.kind not in "ui":
        raise error(
            "NIRHW-E052",
            f"labels have shape {array.shape} and type {array.dtype}",
            why=f"{samples} samples need {samples} whole numbers",
        )
    return array.astype(np.int64)


def populations_named(record: Any, owners: Mapping[str, str]) -> dict[str, str]:
    """Return population by requested NIR node name; ``owners`` maps every recordable name to its population.

    Raises:
        InputError: NIRHW-E052 for a name that is no recordable population.
    """
    if not isinstance(record, Iterable):
        raise error("NIRHW-E052", f"record takes names of populations, got {printable(record)}")
    names = (record,) if isinstance(record, str) else tuple(record)
    for name in names:
        if not isinstance(name, str) or name not in owners:
            raise error(
                "NIRHW-E052", f"no population is called '{printable(name)}'", fix="one of " + ", ".join(sorted(owners)[:40])
            )
    return {name: owners[name] for name in names}
