"""What is said of a model that is not medgraft's: how it was asked, and what that leaves open."""

from __future__ import annotations

from medgraft.report.text import formatting
from medgraft.results.foreign_model import ForeignModel

KINDS = {
    "onnx": "an ONNX file, run by OpenVINO in 32 bits",
    "torch": "a PyTorch network",
    "callable": "a Python function",
    "command": "a command that reads files",
    "url": "a server on this machine",
}
RESIZED = {
    "squash": "resized to a square, whatever the aspect",
    "crop": "the largest centred square, resized",
    "pad": "fitted in whole, the rest black",
}
CHANNELS = {"rgb": "RGB", "bgr": "BGR", "grey": "grey"}
SAME = 1e-4  # difference of a probability that rounding makes


def how_asked(model: ForeignModel) -> tuple[tuple[str, str], ...]:
    """(What, how) of the way from pixels to probabilities, for somebody to check."""
    kind = f"{model.name}, {KINDS[model.kind]}"
    if model.network:
        kind += f" ({model.network})"
    return (
        ("Model", kind),
        ("Input", _input(model)),
        ("Outputs", _outputs(model)),
        ("Classes", _classes(model)),
        ("Calibration", _calibration(model)),
    )


def doubts(model: ForeignModel) -> tuple[str, ...]:
    """What to hold against the audit, as sentences."""
    found = [_learned_from(model)]
    if model.differs > SAME:
        found.append(
            f"Asked twice about the same {model.n_repeated} images, in other batches, it moved a "
            f"probability by up to {model.differs:.2g}: it is random, or depends on the images "
            "beside (dropout or batch statistics left on?). That widens every interval here; put "
            "it into evaluation mode."
        )
    return tuple(found)


def _input(model: ForeignModel) -> str:
    parts = [f"{model.side} px", RESIZED[model.resize]]
    if model.crop_pct < 1:
        parts.append(f"of which the middle {formatting.percent(model.crop_pct)} is kept")
    parts.append(CHANNELS[model.channels])
    parts.append(f"normalised by {model.normalize}" if model.normalize else "8 bits as they are")
    return ", ".join(parts)


def _outputs(model: ForeignModel) -> str:
    number = "one number" if model.columns == 1 else f"{model.columns} numbers"
    read = f" of the output {model.output}" if model.output else ""
    how = (
        "as was said" if model.outputs_given
        else f"as their values on {model.n_looked} images tell"
    )  # fmt: skip
    made = ""
    if model.outputs == "logits":
        made = "; a softmax" if model.columns > 1 else "; a sigmoid"
        made += " makes probabilities of them"
    return f"{number} for an image{read}, {model.outputs}, {how}{made}"


def _classes(model: ForeignModel) -> str:
    names = ", ".join(model.classes)
    if model.columns == 1:
        names += f"; the one number speaks for {model.classes[1]}"
    how = "as was said" if model.classes_given else (
        "the data's order, for nobody said another, and none fits the answers surely better"
    )  # fmt: skip
    return f"{names}: {how}"


def _calibration(model: ForeignModel) -> str:
    said = "Its probabilities are its own: medgraft has not calibrated them, and promises nothing "
    said += "of them."
    if model.threshold is None:
        return f"{said} Its label is the most probable class."
    return f"{said} Its labels are given from {model.threshold:g} on, which --threshold sets."


def _learned_from(model: ForeignModel) -> str:
    which = "The images are the test split of the data, but whether" if model.split else "Whether"
    return (
        f"{which} this model learned from these images cannot be known. If it did, its AUROC "
        "here is no measure of its performance, and it may decide otherwise on images that it "
        "does not know by heart. What is asked here is only what its answers rest on."
    )
