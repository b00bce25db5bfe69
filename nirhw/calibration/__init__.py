"""Calibration: a handful of numbers of a target, searched with the emulator in the loop; see :mod:`nirhw.calibration.driver`."""
