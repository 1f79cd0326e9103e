"""medgraft: transplant pretrained networks onto medical images, and check what they look at.

Everything public is named here and imported when it is first used, so that `import medgraft`
costs nothing.
"""

from typing import TYPE_CHECKING

from medgraft.version import __version__

if TYPE_CHECKING:
    from medgraft.api import encode, load, load_panel, study
    from medgraft.audit.evidence import AuditOptions
    from medgraft.bundle.audit_model import audit_model
    from medgraft.bundle.external_validation import ExternalValidation
    from medgraft.bundle.model import load_model
    from medgraft.classifier import TransferClassifier
    from medgraft.data.ingest import LoadOptions
    from medgraft.errors import MedgraftError
    from medgraft.explain.cam import grad_cam
    from medgraft.features.cache import Cache
    from medgraft.features.extract import Extractor
    from medgraft.foreign.options import ForeignOptions
    from medgraft.panel import Panel
    from medgraft.results.export import Export
    from medgraft.results.figures import Evaluation
    from medgraft.results.panel import PanelResult
    from medgraft.results.recommendation import StudyResult
    from medgraft.saved_models import adapt, bundle_model, evaluate_model, export_model
    from medgraft.studies.options import StudyOptions
    from medgraft.studies.panel import PanelStudy
    from medgraft.studies.run import Study
    from medgraft.types import (
        Attribution,
        Canvas,
        Estimate,
        Finding,
        FittedScenario,
        ImageTable,
        Predictions,
        Scenario,
    )

__all__ = [
    "Attribution",
    "AuditOptions",
    "Cache",
    "Canvas",
    "Estimate",
    "Evaluation",
    "Export",
    "ExternalValidation",
    "Extractor",
    "Finding",
    "FittedScenario",
    "ForeignOptions",
    "ImageTable",
    "LoadOptions",
    "MedgraftError",
    "Panel",
    "PanelResult",
    "PanelStudy",
    "Predictions",
    "Scenario",
    "Study",
    "StudyOptions",
    "StudyResult",
    "TransferClassifier",
    "__version__",
    "adapt",
    "audit_model",
    "bundle_model",
    "encode",
    "evaluate_model",
    "export_model",
    "grad_cam",
    "load",
    "load_model",
    "load_panel",
    "study",
]

_HOMES = {
    "api": ("encode", "load", "load_panel", "study"),
    "audit.evidence": ("AuditOptions",),
    "bundle.audit_model": ("audit_model",),
    "bundle.external_validation": ("ExternalValidation",),
    "bundle.model": ("load_model",),
    "classifier": ("TransferClassifier",),
    "data.ingest": ("LoadOptions",),
    "errors": ("MedgraftError",),
    "explain.cam": ("grad_cam",),
    "features.cache": ("Cache",),
    "features.extract": ("Extractor",),
    "foreign.options": ("ForeignOptions",),
    "panel": ("Panel",),
    "results.export": ("Export",),
    "results.figures": ("Evaluation",),
    "results.panel": ("PanelResult",),
    "results.recommendation": ("StudyResult",),
    "saved_models": ("adapt", "bundle_model", "evaluate_model", "export_model"),
    "studies.options": ("StudyOptions",),
    "studies.panel": ("PanelStudy",),
    "studies.run": ("Study",),
}

if not TYPE_CHECKING:  # a type checker sees the imports above, and no name beside them

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module 'medgraft' has no attribute {name!r}")
        from importlib import import_module

        home = next((home for home, names in _HOMES.items() if name in names), "types")
        return getattr(import_module(f"medgraft.{home}"), name)

    def __dir__():
        return sorted({*globals(), *__all__})
