"""What `--help` shows around the commands' own words: their order, examples, panels of options.

It stands in one place so that an option is found under the same heading in every command, and so
that the examples are read, and tested, one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Heading of commands → command → examples. They are typed by a test, in this order.
COMMANDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Start here": {
        "demo": ("medgraft demo",),
        "profile": (
            "medgraft profile xrays --out checked",
            "medgraft profile skin.csv --images photos",
        ),
        "study": (
            "medgraft study xrays --out run",
            "medgraft study xrays --modality xray --budget 30m --out half-an-hour",
            "medgraft study skin.csv --images photos --group lesion_id --out skin",
        ),
    },
    "Without typing": {"app": ("medgraft app",)},
    "Use a model": {
        "predict": ("medgraft predict run elsewhere/*/*.png --out answers.csv",),
        "explain": ("medgraft explain run elsewhere/lesion/*.png --method gradcam --out maps",),
        "evaluate": ("medgraft evaluate run elsewhere --out outside",),
        "adapt": ("medgraft adapt run elsewhere --class-shares 0.2,0.8",),
        "audit": ("medgraft audit run elsewhere --modality xray --out audited",),
        "serve": ("medgraft serve run --port 8080",),
        "bundle": ("medgraft bundle run --out xrays.medgraft",),
        "export": ("medgraft export run --format onnx --out graph",),
    },
    "Single steps": {
        "train": ("medgraft train xrays --scenario probe/tf_efficientnet_lite0/blocks.5/svm",),
        "views": ("medgraft views xrays --presets xray --out views.html",),
        "encode": ("medgraft encode xrays --out codes.parquet",),
    },
    "This machine": {
        "runs": (),
        "runs list": ("medgraft runs list",),
        "runs show": ("medgraft runs show run",),
        "runs compare": ("medgraft runs compare run skin --html compared.html",),
        "runs clean": ("medgraft runs clean", "medgraft runs clean --yes"),
        "runs log": ("medgraft runs log run --mlflow http://tracking.example:5000",),
        "backbones": ("medgraft backbones",),
        "weights": (),
        "weights add": ("medgraft weights add dino.safetensors --name dino --licence Apache-2.0",),
        "weights list": ("medgraft weights list",),
        "weights remove": ("medgraft weights remove dino",),
        "cache": ("medgraft cache", "medgraft cache --limit 5"),
        "doctor": ("medgraft doctor", "medgraft doctor --json"),
    },
}
# Heading of options → options, in the order of --help. What is not named here comes first, under
# "Options": what this command alone has, where it writes, how it goes on.
PANELS: Mapping[str, tuple[str, ...]] = {
    "Data": (
        "layout", "group", "no-groups", "site", "images", "path-column", "label-column",
        "finding-columns", "split-column", "class-names", "binarize", "positive", "ordered",
        "order", "leave-out", "rename", "overrides",
    ),
    "Scenarios": (
        "budget", "dry-run", "families", "backbone", "weights", "heads", "preprocess", "augment",
        "views", "sizes",
    ),
    "Training": ("recipe", "from", "depths", "holdout-only", "cap"),
    "Statistics": (
        "metric", "subgroups", "class-shares", "sensitivity", "specificity", "alpha", "unlike-rate",
    ),
    "What it looks at": ("modality", "masks"),
    "A model that is not medgraft's": (
        "model", "model-command", "network", "input-size", "normalize", "channels", "crop-pct",
        "classes", "outputs", "output-name", "threshold", "model-timeout",
    ),
    "Parts of the study": ("audit", "learning-curve", "one-scenario"),
    "Limits": ("max-file-mb", "max-request-mb", "max-files", "max-images", "max-seconds", "pairs"),
    "Machine": ("engine", "workers", "cache", "safe"),
    "Advanced": (
        "label-columns", "drop-classes-below", "uncertain", "window", "page",
        "pixel-range", "encoding", "sheet", "ids", "encoders", "resize", "training",
        "training-size", "validate", "audit-pairs", "runner", "address", "mlflow",
    ),
}  # fmt: skip


def arrange(program: Any) -> None:
    """Put the commands of a program, and the options of each, in order and give them examples."""
    panels = {name: panel for panel, names in COMMANDS.items() for name in names}
    examples = {name: some for names in COMMANDS.values() for name, some in names.items()}
    order = list(panels)

    def place(group: Any, before: str) -> None:
        def rank(name: str) -> int:
            return order.index(before + name) if before + name in panels else len(order)

        group.commands = {name: group.commands[name] for name in sorted(group.commands, key=rank)}
        for name, command in group.commands.items():
            full = before + name
            command.rich_help_panel = None if before else panels.get(full)
            if some := examples.get(full):
                command.epilog = "\n\n".join(("Examples:" if some[1:] else "Example:", *some))
            paragraphs = (command.help or "").split("\n\n")  # of lines as long as the source's
            command.help = "\n\n".join(" ".join(one.split()) for one in paragraphs)
            _order_options(command)
            if hasattr(command, "commands"):
                place(command, f"{full} ")

    place(program, "")


def _order_options(command: Any) -> None:
    names = [(panel, name) for panel, names in PANELS.items() for name in names]
    place = {f"--{name}": (rank, panel) for rank, (panel, name) in enumerate(names)}
    flags = {one: max(one.opts, key=len) for one in command.params}  # an argument's has no dashes
    command.params.sort(key=lambda one: place.get(flags[one], (-1, ""))[0])
    for param in command.params:
        if param.param_type_name == "option" and param.help:
            param.help = param.help.replace("[", "\\[")  # 'medgraft[onnx]' is no colour
        if flags[param] in place:
            param.rich_help_panel = place[flags[param]][1]
        if getattr(param, "is_flag", False):
            param.metavar = " "  # a switch takes no value
        if param.param_type_name == "argument":
            param.display_type_rich = lambda ctx: None  # MODEL says more than <path>
