"""What a budget is spent on, step by step, and what was given up for it."""

from __future__ import annotations

from collections.abc import Sequence

from medgraft.report.text import formatting
from medgraft.types import BudgetStep, BudgetUse

STEPS = {
    "probe": "layers of the network, frozen, under each head",
    "vlad": "encoded descriptors (VLAD)",
    "stack": "a stack of what is frozen",
    "clahe": "contrast equalised (CLAHE)",
    "second": "VGG-16 beside, and both joined",
    "multiscale": "larger inputs",
    "finetune": "the network trained again",
}
WHY = {
    "probe": "everything else is compared with it",
    "vlad": "the same network, read in more detail",
    "stack": "joins what was judged, reads nothing",
    "clahe": "one reading more, of images that may be flat",
    "second": "tells more of some medical images, and is slow",
    "multiscale": "the images hold more pixels than the network reads",
}
WHY_TRAINED = {
    "many and unlike": "many images, unlike ImageNet: likely to win",
    "what is left": "takes the time that is left",
    "few": "too few images to train a network",
}


def why(step: BudgetStep) -> str:
    """Why a step stands where it does."""
    return WHY_TRAINED.get(step.reason) or WHY[step.name]


def outcome(step: BudgetStep) -> str:
    """What became of it, in a few words; '' of what is still to come."""
    if step.outcome == "done" and step.stopped:
        return f"{step.judged} judged, {len(step.stopped)} could not win"
    if step.outcome == "cannot win":
        return f"stopped after {_share(step)} of the patients: none could win"
    return {
        "planned": "",
        "done": f"{step.judged} judged",
        "no time": "no time",
        "no audit": "no time to audit it if it wins",
        "stopped": f"Ctrl-C, {step.judged} judged",
        "few images": "not run",
    }[step.outcome]


def cumulated(use: BudgetUse) -> list[float | None]:
    """Seconds gone after each step that is planned, with those that come after all at the end."""
    gone, found = 0.0, list[float | None]()
    for step in use.steps:
        planned = step.outcome == "planned"
        gone += step.predicted if planned else 0.0
        found.append(gone if planned else None)
    return [*found, gone + use.finish]


def sentence(use: BudgetUse | None, metric: str) -> str:
    """What was given up, and why; '' where nothing was, or no budget decided."""
    if use is None:
        return ""
    by: dict[str, list[BudgetStep]] = {}
    for step in use.steps:
        by.setdefault(step.outcome, []).append(step)
    said = []
    if late := by.get("no time"):
        named = [STEPS[s.name] + _about(s.predicted) for s in late]
        said.append(f"Not run for want of time: {formatting.join(named)}.")
    if unaudited := by.get("no audit"):
        named = [STEPS[s.name] + _about(s.predicted) for s in unaudited]
        said.append(
            f"Not run, for there was no time to audit what would win: {formatting.join(named)}. A "
            "longer budget runs it, and so does --no-audit."
        )
    for step in by.get("cannot win", ()):
        best = max(step.stopped, key=lambda one: one.gain)
        said.append(
            f"Stopped after {_share(step)} of the patients, for it could not win any more: "
            f"{STEPS[step.name]} ({formatting.difference(metric, best.gain)} at best against "
            "what was known)."
        )
    if partly := [s for s in by.get("done", ()) if s.stopped]:
        named = [f"{len(s.stopped)} of {s.scenarios} of {STEPS[s.name]}" for s in partly]
        said.append(f"Stopped because they could not win any more: {formatting.join(named)}.")
    if use.interrupted:
        named = [STEPS[s.name] for s in by.get("stopped", ())]
        said.append(
            "Ctrl-C ended the study: what had been judged by then is compared, without an audit "
            "and a learning curve"
            + (f"; not finished: {formatting.join(named)}" if named else "")
            + ". --resume goes on."
        )
    if use.audit_pairs is not None:
        said.append(
            f"The audit was cut to {use.audit_pairs} pairs of images."
            if use.audit_pairs
            else "The audit of its evidence was left out: it takes longer than was left; `medgraft "
            "audit` makes up for it."
        )
    if not said:
        return ""
    return f"Of {formatting.duration(use.seconds)}: {' '.join(said)}"


def rows(use: BudgetUse) -> Sequence[tuple[str, BudgetStep, str, str]]:
    """Each step with its words: what it is, why it stands there, what became of it."""
    return [(STEPS[step.name], step, why(step), outcome(step)) for step in use.steps]


def _about(seconds: float) -> str:
    """How long something would have taken, where that was timed."""
    return f" (about {formatting.duration(seconds)})" if seconds else ""


def _share(step: BudgetStep) -> str:
    return f"{max(one.share for one in step.stopped):.0%}".replace("%", " %")
