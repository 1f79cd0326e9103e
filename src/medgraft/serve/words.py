"""What the page says of a model as a whole; what it says of an image stands in `page/words.js`."""

from __future__ import annotations

from collections.abc import Mapping

from medgraft.explain.cam import block_taps, has_cam
from medgraft.report.text.audit_findings import VERDICTS
from medgraft.report.text.formatting import count
from medgraft.types import FittedScenario

AUDIT_SAYS: Mapping[str, str] = {
    "": "What this model looks at was not audited.",
    "PASS": f"{VERDICTS['PASS'].capitalize()}.",
    "WARN": f"{VERDICTS['WARN'].capitalize()}.",
    "FAIL": f"{VERDICTS['FAIL'].capitalize()}.",
    "INCONCLUSIVE": "The audit came to no verdict.",
}
AUDIT_MEANS: Mapping[str, str] = {
    "": "Nobody knows whether its answers rest on the disease or on something beside it: a marker, "
    "a frame, a device. A study with more time finds out, and so does the command medgraft audit.",
    "PASS": "Parts of the images were exchanged to see what the answers follow, and none that "
    "should not matter did. Of images made elsewhere this says nothing.",
    "WARN": "Read what was found before you rely on an answer: some of it may come from what is no "
    "evidence.",
    "FAIL": "Do not rely on its answers, however sure they sound: they follow something that is no "
    "evidence, and will be wrong where that is missing.",
    "INCONCLUSIVE": "Nobody knows yet whether its answers rest on the disease or on something "
    "beside it. More images, or masks of where the evidence lies, would tell.",
}


def calibration_says(verdict: str, n: int) -> str:
    """Whether probabilities may be taken at their word; n : images it was judged on."""
    on = f"on {count(n)} images it had not learned from"
    return {
        "": "Whether its probabilities come true was not measured.",
        "PASS": f"Its probabilities come true, as far as could be seen {on}.",
        "WARN": f"Its probabilities do not quite come true, judged {on}: take them with care.",
        "FAIL": f"Its probabilities do not come true, judged {on}: go by the order alone, not by "
        "the number.",
        "INCONCLUSIVE": f"Too few images to tell whether its probabilities come true: {on}.",
    }[verdict]


def why_no_depth(fitted: FittedScenario) -> str:
    """Why a classifier has no map at each depth, in one sentence; '' where it has."""
    from medgraft.report.text.scenario_names import why_no_gradient

    if not (fitted.networks or fitted.members):
        return "Nothing inside this classifier can be looked at."
    if has_cam(fitted):
        if block_taps(fitted):
            return ""
        return f"{fitted.networks[0].spec.taps[-1]} has no extent, so there are no places to mark."
    text = why_no_gradient(fitted.scenario)
    return f"{text[0].upper()}{text[1:]}."
