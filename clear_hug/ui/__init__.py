"""What every page shares: open_page, the records to choose from, caches, messages.

The only streamlit import in the package. A choice (record, detector, checkpoint, label) stands in the
address of the page, so that a link shows what its sender saw; an uploaded ECG never does, and lives in
its own session alone. Results live in caches keyed by the digest of the record and of the checkpoint.
"""

from clear_hug.ui.edits import (
    chosen_beat,
    edit_files,
    edit_tools,
    pick_in_strip,
    pick_in_table,
    time_to_add,
)
from clear_hug.ui.menus import choices, menu, number, other_menu, several, tabs
from clear_hug.ui.page import guard, open_page
from clear_hug.ui.pick import (
    against_menu,
    detector_menu,
    other_record,
    pick_built_in,
    pick_from_folder,
    pick_physionet,
    pick_upload,
    show_upload_error,
    target_menu,
)
from clear_hug.ui.records import (
    MOST_UPLOADS,
    UPLOAD_SHOWN,
    UPLOADS,
    Record,
    list_records,
    read_record,
    upload,
)
from clear_hug.ui.results import Page, training_runs
from clear_hug.ui.show import (
    bullets,
    download,
    link,
    model_line,
    say,
    show,
    show_facts,
    show_lead_quality,
    show_missing,
    show_overview,
    show_paper,
    show_quality,
    trust_line,
)
from clear_hug.ui.switches import chosen_token, pick_token, switches

__all__ = [
    "MOST_UPLOADS", "UPLOADS", "UPLOAD_SHOWN", "Page", "Record",
    "against_menu", "bullets", "choices", "chosen_beat", "chosen_token", "detector_menu", "download",
    "edit_files", "edit_tools", "guard", "link", "list_records", "menu", "model_line",
    "number", "open_page", "other_menu", "other_record",
    "pick_built_in", "pick_from_folder", "pick_in_strip", "pick_in_table", "pick_token",
    "pick_physionet", "pick_upload", "read_record", "say", "several", "show",
    "show_facts", "show_lead_quality", "show_missing", "show_overview",
    "show_paper", "show_quality", "show_upload_error", "switches", "tabs", "target_menu",
    "time_to_add", "training_runs", "trust_line", "upload",
]  # fmt: skip
