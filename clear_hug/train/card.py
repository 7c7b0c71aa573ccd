"""model_card: a checkpoint's README.md, generated from what was measured, never typed."""

from __future__ import annotations

from typing import Any

from clear_hug.checkpoint import Checkpoint

SOURCES = {  # shard -> name and licence, as published by the provider
    "ptbxl": "PTB-XL (CC BY 4.0)",
    "ptbxl_normalized": "PTB-XL, each lead z-scored (CC BY 4.0)",
    "ludb": "LUDB (ODC-By 1.0)",
    "cinc2011": "PhysioNet/CinC Challenge 2011 (ODC-By)",
    "cinc2021": "PhysioNet/CinC Challenge 2021 (CC BY 4.0)",
    "cinc2025_chagas": "PhysioNet/CinC Challenge 2025, SaMi-Trop and CODE-15 (see provider)",
    "brugada_huca": "Brugada-HUCA (see provider)",
}


def _interval(row: dict[str, Any], key: str = "macro_auroc") -> str:
    low, high = row[f"{key}_95"]
    return f"{_cell(row[key])} ({_cell(low)} to {_cell(high)})"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def model_card(checkpoint: Checkpoint, metrics: dict[str, Any]) -> str:
    """Markdown from the checkpoint's own configuration and metrics.json."""
    return "\n".join([
        *_what(checkpoint, metrics),
        *(line for task, row in metrics["tasks"].items() for line in _task(task, row)),
        *_rebuilt(metrics["reconstruction"]),
        *_limits(metrics["scale_flag"]),
        "",
    ])  # fmt: skip


def _table(header: str, rows: list[str]) -> list[str]:
    return [header, "|" + "---|" * (header.count("|") - 1), *rows, ""]


def _what(checkpoint: Checkpoint, metrics: dict[str, Any]) -> list[str]:
    training, c = checkpoint.training, checkpoint.model.clear.config
    tuned, first = training.get("config", {}), training.get("init") or {}
    before = first.get("config", {})
    million = sum(p.numel() for p in checkpoint.model.parameters()) / 1e6
    maps = "lead" if checkpoint.model.hug.per_lead else "group"
    return [
        f"# {checkpoint.name}",
        "",
        "**For research only; not a medical device.** Generated from `config.json`, `calibration.json` and",
        "`metrics.json`; every figure by",
        "",
        f"    {metrics['command']}",
        "",
        "## What it is",
        "",
        f"CLEAR, {c.depth} layers of width {c.width}, pattern {c.pattern!r}, decoder {c.decoder_depth} of "
        f"{c.decoder_width}; HUG with one level-1 map a {maps}; {million:.2f} M parameters in all. "
        f"Answers {', '.join(t.name for t in checkpoint.tasks)}.",
        "",
        f"- Pre-training: {first.get('records', 0)} records, {before.get('epochs', 0)} epochs, "
        f"{100 * before.get('mask_ratio', 0):.0f} % of the tokens hidden, "
        f"without folds {_list(before.get('leave_out_folds'))}.",
        f"- Fine-tuning, end to end, rebuilding beside it: {training.get('records')} PTB-XL records of folds "
        f"{_list(tuned.get('train_folds'))}, {tuned.get('epochs')} epochs; learned at once: "
        f"{', '.join(tuned.get('tasks', []))}.",
        f"- Calibration and thresholds: {training.get('calibrated_on')}.",
        "- Data: " + ", ".join(SOURCES.get(s, s) for s in training.get("sources", ())) + ".",
        "",
        "## Intended use",
        "",
        "Exploring 12-lead ECGs and the model's reasons, in research and teaching. Not for diagnosis, triage",
        "or treatment.",
        "",
        f"## Figures on PTB-XL fold {_list(metrics['folds'])}, "
        + ("whose labels were never seen" if metrics["pretrained_on_them"] else "never learned from"),
        "",
        "95 % intervals: 1,000 bootstrap draws of patients (of records where the patient is unknown).",
        "",
    ]


def _list(values: Any) -> str:
    return ", ".join(map(str, values or ("none",)))


SUBSETS = {
    "field": "records with at least one label of the task (the field's subset)",
    "all_records": "all records",
    "raw": "of the subset, records with voltage",
    "raw_scale_withheld": "the same, lead scale withheld",
    "no_voltage": "of the subset, records without voltage",
}


def _task(name: str, row: dict[str, Any]) -> list[str]:
    lines = [f"### {name}", ""]
    lines += _table(
        "| on | records | macro AUROC (95 %) | macro ECE |",
        [
            f"| {words} | {row[key]['records']} | {_interval(row[key])} | {_cell(row[key]['macro_ece'])} |"
            for key, words in SUBSETS.items()
            if key in row
        ],
    )
    lines += _table(
        "| label | positives | AUROC (95 %) | average precision | F1 at threshold | ECE |",
        [
            f"| {label} | {r['positives']} | {_cell(r['auroc'])} ({_cell(r['auroc_95'][0])} to "
            f"{_cell(r['auroc_95'][1])}) | {_cell(r['average_precision'])} | {_cell(r['f1'])} | "
            f"{_cell(r['ece'])} |"
            for label, r in row["field"]["labels"].items()
        ],
    )
    if row["baselines"]:
        lines += _table(
            "| baseline, same records and rules | macro AUROC (95 %) | ours minus it (95 %) |",
            [
                f"| {name} | {_interval(r)} | {r['difference']:+.3f} ({r['difference_95'][0]:+.3f} to "
                f"{r['difference_95'][1]:+.3f}) |"
                for name, r in row["baselines"].items()
            ],
        )
    return lines


def _rebuilt(rows: dict[str, float]) -> list[str]:
    return [
        "## Reconstruction of hidden beats, same records",
        "",
        "R2 in units of each lead's scale; that of a wholly hidden lead is given here, and predicted in the",
        "app. Limb leads are linear in one another, so a single hidden one is easy.",
        "",
        *_table("| hidden | R2 |", [f"| {name} | {value:.3f} |" for name, value in rows.items()]),
    ]


def _limits(flag: dict[str, float | None]) -> list[str]:
    told = ", ".join(f"{target.split('/')[1]} {_cell(value)}" for target, value in flag.items())
    return [
        "## What it cannot see",
        "",
        "- Anything outside 0.67-40 Hz, and the time no 0.96 s token covers (slow rates: the end of T).",
        "- P waves without a QRS, pauses without a beat, pacing spikes.",
        f'- Voltage, where a file does not tell its unit. AUROC of the flag "voltage known" alone: {told}.',
        "- Patients unlike PTB-XL's (one German centre, 1989-1996). Fold 9 at hand is small and easy.",
    ]
