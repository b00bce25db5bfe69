"""Real data from well-known packages, turned into binary spike trains (pure numpy, except for where the data lies).

Spike arrays are ``spikes[sample, step, *channel shape]``, dtype uint8, values 0 and 1.
"""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Spikes = NDArray[np.uint8]
Labels = NDArray[np.int64]
Series = NDArray[np.float64]

DIGIT_LEVELS = 16  # pixels run from 0 to 16
DIGIT_TEST = 450  # a quarter
DIGIT_CALIBRATION = 200
DIGIT_STEPS = 16  # for networks that count in steps
LIF_DIGIT_STEPS = 32  # for networks in time
LIF_DIGIT_FULL_RATE = 0.5  # spikes a step of a white pixel; 1 for networks that count in steps
SPLIT_SEED = 0

VOWEL_SPEAKERS = 8  # the first eight of nine: Xylo Audio 2 has eight outputs
VOWEL_STEPS = 100
VOWEL_FULL_RATE = 0.5  # spikes a step of a coefficient at or above the top of its range
VOWEL_RANGE = 2.5  # standard deviations of the training set on either side of the mean

POWER_STEPS = 96  # four an hour
POWER_LEVELS = 12  # channels
POWER_RANGE = (-2.0, 2.0)  # where the first and the last channel answer most; standard deviations of a day's own demand
POWER_FULL_RATE = 0.8  # spikes a step of a channel at its level
POWER_CLOCK = 4  # channels: which quarter of the day it is
POWER_CLOCK_RATE = 0.5
POWER_TEST, POWER_CALIBRATION = 636, 160  # of 1096


@dataclass(frozen=True)
class Split:
    """One part of a data set: ``spikes[sample, step, ...]`` and ``labels[sample]``."""

    spikes: Spikes
    labels: Labels

    def save(self, path: Path, dt: float, reset: str) -> None:
        """Write the split with the network's time step in seconds and its reset kind, whole or not at all."""
        temporary = path.with_name(f".{path.name}")
        with temporary.open("wb") as file:
            np.savez_compressed(file, spikes=self.spikes, labels=self.labels, dt=np.float64(dt), reset=np.str_(reset))
        os.replace(temporary, path)

    def first_of_each_class(self, number: int) -> "Split":
        """The first ``number`` samples of each class, in their order."""
        kept = [np.flatnonzero(self.labels == label)[:number] for label in np.unique(self.labels)]
        index = np.sort(np.concatenate(kept))
        return Split(self.spikes[index], self.labels[index])

    def split_off(self, number: int, seed: int) -> tuple["Split", "Split"]:
        """The rest, and ``number`` samples drawn at random with all classes in proportion."""
        from sklearn.model_selection import train_test_split

        parts = train_test_split(
            self.spikes, self.labels, test_size=number, random_state=seed, shuffle=True, stratify=self.labels
        )
        rest_spikes, drawn_spikes, rest_labels, drawn_labels = parts
        return Split(rest_spikes, rest_labels), Split(drawn_spikes, drawn_labels)


def even_spikes(drive: Series) -> Spikes:
    """Error diffusion along axis 1: a spike whenever the running sum of ``drive`` (0 to 1 a step) passes k + 1/2."""
    total = np.floor(np.cumsum(drive, axis=1) + 0.5)
    return np.diff(total, axis=1, prepend=0.0).astype(np.uint8)


def digits() -> tuple[Split, Split]:
    """Training and test split of scikit-learn's digits, a spike a grey level, ``spikes[sample, step, 1, 8, 8]``."""
    return _digits(DIGIT_STEPS, 1.0)


def lif_digits() -> tuple[Split, Split, Split]:
    """Training, calibration and test split of the same digits, the same test images, more steps at half the rate."""
    rest, test = _digits(LIF_DIGIT_STEPS, LIF_DIGIT_FULL_RATE)
    train, calibration = rest.split_off(DIGIT_CALIBRATION, SPLIT_SEED)
    return train, calibration, test


def _digits(steps: int, full_rate: float) -> tuple[Split, Split]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    drive = np.repeat(full_rate * images.reshape(-1, 1, 1, 8, 8) / DIGIT_LEVELS, steps, axis=1)
    whole = Split(even_spikes(drive), labels.astype(np.int64))
    return whole.split_off(DIGIT_TEST, SPLIT_SEED)


def vowels() -> tuple[Split, Split]:
    """Training and test split of JapaneseVowels (speakers 1 to 8), ``spikes[sample, step, coefficient]``."""
    train, train_labels = _vowel_series("TRAIN")
    test, test_labels = _vowel_series("TEST")
    frames = np.concatenate(train)
    mean, deviation = frames.mean(axis=0), frames.std(axis=0)
    spikes = [_vowel_spikes(series, mean, deviation) for series in (train, test)]
    return Split(spikes[0], train_labels), Split(spikes[1], test_labels)


def _vowel_series(part: str) -> tuple[list[Series], Labels]:
    series, names = read_ts("JapaneseVowels", part)
    labels = np.array([int(name) - 1 for name in names], dtype=np.int64)
    kept = np.flatnonzero(labels < VOWEL_SPEAKERS)
    return [series[index] for index in kept], labels[kept]


def _vowel_spikes(utterances: list[Series], mean: Series, deviation: Series) -> Spikes:
    stretched = np.stack([stretch(utterance, VOWEL_STEPS) for utterance in utterances])
    level = 0.5 + (stretched - mean) / deviation / (2 * VOWEL_RANGE)
    return even_spikes(VOWEL_FULL_RATE * np.clip(level, 0.0, 1.0))


def power() -> tuple[Split, Split, Split]:
    """Training, calibration and test split of ItalyPowerDemand (which half of the year), ``spikes[sample, step, channel]``."""
    parts = [read_ts("ItalyPowerDemand", part) for part in ("TRAIN", "TEST")]
    days = np.stack([stretch(day, POWER_STEPS) for series, _ in parts for day in series])
    labels = np.array([int(name) - 1 for _, names in parts for name in names], dtype=np.int64)
    quarters = np.repeat(np.eye(POWER_CLOCK), POWER_STEPS // POWER_CLOCK, axis=0)
    clock = np.broadcast_to(quarters, (len(days), *quarters.shape))
    drive = np.concatenate([POWER_FULL_RATE * tuned(days), POWER_CLOCK_RATE * clock], axis=2)
    rest, test = Split(even_spikes(drive), labels).split_off(POWER_TEST, SPLIT_SEED)
    train, calibration = rest.split_off(POWER_CALIBRATION, SPLIT_SEED)
    return train, calibration, test


def tuned(level: Series) -> Series:
    """Triangular tuning curves, 0 to 1, over ``level[sample, step, 1]``: any level is shared by the two channels next to it."""
    peaks, spacing = np.linspace(*POWER_RANGE, POWER_LEVELS, retstep=True)
    return np.clip(1.0 - np.abs(np.clip(level, *POWER_RANGE) - peaks) / spacing, 0.0, 1.0)


def stretch(series: Series, steps: int) -> Series:
    """Resample ``series[time, channel]`` to ``steps`` points by linear interpolation, end to end."""
    position = np.linspace(0.0, len(series) - 1.0, steps)
    return np.stack([np.interp(position, np.arange(len(series)), channel) for channel in series.T], axis=1)


def read_ts(name: str, part: str) -> tuple[list[Series], list[str]]:
    """Series ``[time, channel]`` and class names of a .ts file in the aeon package (which is not imported)."""
    package = importlib.util.find_spec("aeon")
    if package is None or package.origin is None:
        raise FileNotFoundError("the aeon package carries the data: pip install --no-deps aeon==1.6.0")
    path = Path(package.origin).parent / "datasets" / "data" / name / f"{name}_{part}.ts"
    lines = path.read_text(encoding="utf-8").splitlines()
    cases = [line.split(":") for line in lines if line and line[0] not in "#@"]
    series = [np.array([channel.split(",") for channel in case[:-1]], dtype=np.float64).T for case in cases]
    return series, [case[-1].strip() for case in cases]
