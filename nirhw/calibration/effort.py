"""How much work a compilation is given (``level``, ``budget``, ``seed``), and what calibration tells the ledger.

Imported by every compilation, so nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nirhw.diagnostics import Deviation, error
from nirhw.network import Network
from nirhw.pipeline import Context, Tuning

if TYPE_CHECKING:
    from nirhw.calibration.driver import Calibration
    from nirhw.calibration.halves import Outcome
    from nirhw.calibration.recorded import Recorded

#: evaluations where the user names no budget
BUDGET = 250
#: the level that searches scales and fits recorded activity, the one with the emulator in the loop, and all that there are
SEARCHED, CALIBRATED = 2, 3
LEVELS = (0, 1, SEARCHED, CALIBRATED)
#: how much longer level 2 may look for a placement
PATIENCE = 8
#: hits that a nudge of one knob may cost before a network counts as ill-conditioned
ILL_CONDITIONED = 0.05
#: a loss on the check half of more than so many standard errors is a warning
DOUBT = 2.0


@dataclass(frozen=True)
class Effort:
    """What a compilation may spend: level, evaluations and seed."""

    level: int
    budget: int
    seed: int


def settled_effort(calibration: Any, labels: Any, level: int | None, budget: int | None, seed: int) -> Effort:
    """Return the effort that a user's arguments ask for.

    Raises:
        UsageError: NIRHW-E002 for arguments that contradict each other or are out of range.
    """
    chosen = level if level is not None else 1 if calibration is None else CALIBRATED
    if isinstance(chosen, bool) or chosen not in LEVELS:
        raise error("NIRHW-E002", f"level is {level!r}", fix=f"one of {', '.join(map(str, LEVELS))}")
    if chosen == CALIBRATED and calibration is None:
        raise error(
            "NIRHW-E002", f"level {CALIBRATED} has the emulator in the loop and needs spikes", fix="pass calibration=spikes"
        )
    if chosen < SEARCHED and calibration is not None:
        why = f"level {chosen} makes no use of calibration spikes"
        raise error("NIRHW-E002", why, fix=f"leave level out, or {SEARCHED} or {CALIBRATED}")
    if labels is not None and calibration is None:
        raise error("NIRHW-E002", "labels are of use with calibration spikes only", fix="pass calibration=spikes")
    if budget is not None and chosen != CALIBRATED:
        what = f"a budget is of use at level {CALIBRATED} only"
        raise error("NIRHW-E002", what, fix="pass calibration=spikes, and no other level")
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 1):
        raise error("NIRHW-E002", f"budget is {budget!r}", fix="a number of evaluations, at least 1")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise error("NIRHW-E002", f"seed is {seed!r}", fix="a whole number, at least 0")
    return Effort(chosen, BUDGET if budget is None else budget, seed)


def list_recorded(found: Recorded, network: Network, context: Context) -> None:
    """Write to the ledger what was fitted to recorded activity, with its measured effect."""
    done = ["weights are rounded together, for least error of the drive"] if found.activity is not None else []
    done += [trims_phrase(found.tuning)] if found.tuning.trims else []
    if done:
        nodes = tuple(node for p in network.populations.values() if p.rule != "input" for node in p.nodes)
        reason = f"by the activity on calibration spikes: {'; '.join(done)}"
        context.deviations.append(Deviation("rounded", "fitted-to-record", nodes, reason, found.outcome.effect))
        _doubt(found.outcome, nodes, context)


def trims_phrase(tuning: Tuning) -> str:
    """Return what trims do."""
    return f"constant drives or thresholds that bring {', '.join(tuning.trims)} to the float network's firing rates"


def list_calibration(found: Calibration, network: Network, context: Context) -> None:
    """Write the turned knobs and their measured effect to the ledger, and warn where the result is doubtful."""
    turned = [f"{k.name} {found.tuning.knobs[k.name]:.3g}" for k in found.knobs if found.tuning.knobs[k.name] != k.default]
    if found.tuning.trims:
        turned.append(trims_phrase(found.tuning))
    nodes = tuple(node for p in network.populations.values() if p.rule != "input" for node in p.nodes)
    if turned:
        reason = f"turned by calibration: {', '.join(turned)}"
        context.deviations.append(Deviation("rounded", "calibration", nodes, reason, found.outcome.effect))
        _doubt(found.outcome, nodes, context)
    shaky = {n: lost for n, lost in found.sensitivity.items() if lost > ILL_CONDITIONED}
    if shaky:
        worst = max(shaky, key=lambda n: shaky[n])
        meaning = {k.name: k.help for k in found.knobs}
        context.warn(
            "NIRHW-W014",
            f"a turn of {worst} ({meaning[worst]}) by 5 % costs {shaky[worst]:.1%} of the decisions",
            nodes,
            f"knobs on which the outcome hangs: {', '.join(sorted(shaky))}",
            "train with noise on weights and thresholds, or with a larger margin between the classes",
        )


def _doubt(found: Outcome, nodes: tuple[str, ...], context: Context) -> None:
    """Warn where agreement fell on the check half."""
    if found.gain < -DOUBT * found.gain_error:
        context.warn(
            "NIRHW-W013",
            f"agreement fell by {-found.gain:.1%} on the samples that were not searched",
            nodes,
            f"{found.samples[0]} samples were searched, {found.samples[1]} judge the result",
            "give more calibration samples, or compile without calibration",
        )
