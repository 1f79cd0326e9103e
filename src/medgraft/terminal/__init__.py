"""What a person sees in the terminal: progress bars, summaries, tables.

Answers go to stdout; progress and remarks to stderr, so that scripts read only answers. Nothing
is decided here, and nothing heavy is imported before something is drawn: `cli/` imports this
room to answer `--help`.
"""

from medgraft.terminal.models import (
    show_adaptation,
    show_audit,
    show_class_shares,
    show_evaluation,
    show_external,
    show_panel_external,
    show_panel_predictions,
    show_predictions,
    show_sets,
)
from medgraft.terminal.output import show_json, show_rows, show_skipped, show_warning, show_written
from medgraft.terminal.progress import RichProgress, progress
from medgraft.terminal.runs import show_comparison, show_leftovers, show_run, show_runs
from medgraft.terminal.studies import (
    say_table,
    show_findings,
    show_panel,
    show_plan,
    show_questions,
    show_single,
    show_study,
    show_training,
)

__all__ = [
    "RichProgress",
    "progress",
    "say_table",
    "show_adaptation",
    "show_audit",
    "show_class_shares",
    "show_comparison",
    "show_evaluation",
    "show_external",
    "show_findings",
    "show_json",
    "show_leftovers",
    "show_panel",
    "show_panel_external",
    "show_panel_predictions",
    "show_plan",
    "show_predictions",
    "show_questions",
    "show_rows",
    "show_run",
    "show_runs",
    "show_sets",
    "show_single",
    "show_skipped",
    "show_study",
    "show_training",
    "show_warning",
    "show_written",
]
