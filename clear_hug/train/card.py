"""model_card: a checkpoint's README.md, generated from what was measured, never typed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clear_hug.checkpoint import BASELINES, Checkpoint
from clear_hug.leads import LEADS
from clear_hug.tasks import TASKS
from clear_hug.train.answers import pretraining
from clear_hug.train.metrics import BOOTSTRAPS, INTERVAL_FROM
from clear_hug.train.plant import NARROW, SAYS, ST, WIDE

SOURCES = {  # shard -> name and licence, as published by the provider
    "ptbxl": "PTB-XL (CC BY 4.0)",
    "ptbxl_normalized": "PTB-XL, each lead z-scored (CC BY 4.0)",
    "ludb": "LUDB (ODC-By 1.0)",
    "cinc2011": "PhysioNet/CinC Challenge 2011 (ODC-By)",
    "cinc2021": "PhysioNet/CinC Challenge 2021 (CC BY 4.0)",
    "cinc2025_chagas": "PhysioNet/CinC Challenge 2025, SaMi-Trop and CODE-15 (see provider)",
    "brugada_huca": "Brugada-HUCA (see provider)",
}
SUBSETS = {
    "field": "records with at least one label of the task (the field's subset)",
    "all_records": "all records",
    "raw": "of the subset, records with voltage",
    "raw_scale_withheld": "the same, lead scale withheld",
    "no_voltage": "of the subset, records without voltage",
}
ELSEWHERE = {
    "cinc2021": "CinC Challenge 2021 (CPSC, Georgia, Chapman-Shaoxing-Ningbo, PTB)",
    "ludb": "LUDB (Nizhny Novgorod)",
}


def model_card(checkpoint: Checkpoint, metrics: Mapping[str, Any]) -> str:
    """Markdown from the checkpoint's own configuration and metrics.json."""
    tasks = metrics["tasks"]
    return "\n".join([
        *_what(checkpoint, metrics),
        *_summary(tasks, metrics["counted_from"]),
        *(
            line
            for name, row in tasks.items()
            for line in _task(name, row, metrics["counted_from"], checkpoint.description)
        ),
        *_calibration(tasks),
        *_subgroups(tasks),
        *_rebuilt(metrics["reconstruction"]),
        *_elsewhere(metrics["elsewhere"]),
        *(faithfulness_lines(checkpoint.faithfulness) if checkpoint.faithfulness else []),
        *_limits(checkpoint, metrics),
        "",
    ])  # fmt: skip


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(row: Mapping[str, Any], key: str, sign: str = "") -> str:
    """A figure with its interval, "-" where it is not defined."""
    value, (low, high) = row.get(key), row.get(f"{key}_95", (None, None))
    if value is None:
        return "-"
    return f"{value:{sign}.3f}" + (f" ({low:{sign}.3f} to {high:{sign}.3f})" if low is not None else "")


def _text(words: str) -> str:
    """What somebody has written, as one cell of a table."""
    return words.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _table(header: str, rows: Iterable[str]) -> list[str]:
    return [header, "|" + "---|" * (header.count("|") - 1), *rows, ""]


def _taught(training: Mapping[str, Any]) -> list[str]:
    teachers, pupils = training.get("teachers", ()), training.get("pupils", 0)
    if not pupils:
        return []
    told = _list(training["config"].get("taught") or training["config"]["tasks"])
    many = "a teacher" if len(teachers) == 1 else f"the mean of {len(teachers)} teachers"
    return [
        f"- Beside them, {pupils} records without labels, whose targets for {told} are the probabilities of "
        f"{many} ({', '.join(teachers)}) trained on the same folds. To those of a forest or a ResNet the "
        "evidence of the voltage criteria is added where a record is in mV.",
    ]


def _share(tuned: Mapping[str, Any]) -> str:
    share = tuned.get("label_fraction", 1.0)
    return "" if share == 1 else f" ({100 * share:g} % of the labels there, by whole patients)"


def _planted(tuned: Mapping[str, Any]) -> list[str]:
    augment = tuned.get("augment") or {}
    shares = {WIDE: "premature_wide", NARROW: "premature_narrow", ST: "st_elevation"}
    says = [SAYS[task] for task in tuned.get("tasks", ()) if task in SAYS]
    planted = []
    for change, key in shares.items():
        holds = [label for of_task in says for label in of_task[change].holds]
        if augment.get(key):
            planted.append(f"{change} ({', '.join(holds) or 'no label'}) into {augment[key]:.0%}")
    if not planted:
        return []
    return [f"- Planted in fine-tuning, with the label that follows, of the records: {'; '.join(planted)}."]


def _list(values: Any) -> str:
    return ", ".join(map(str, values or ("none",)))


def _stage(training: Mapping[str, Any]) -> str:
    recipe = training["config"]
    few = recipe.get("few_leads", 0)
    return (
        f"{training['records']} records, {recipe['epochs']} epochs, "
        f"{100 * recipe['mask_ratio']:.0f} % of the tokens hidden"
        + (f" (in {100 * few:.0f} % of the records one to three whole leads instead)" if few else "")
        + f", without folds {_list(recipe['leave_out_folds'])}"
        + (", the decoder starting from the regression over leads" if recipe.get("regression") else "")
    )


def _criteria(checkpoint: Checkpoint) -> list[str]:
    words, hug = checkpoint.training.get("criteria_from"), checkpoint.model.hug
    lines = []
    for what, told in (("Voltage criteria", hug.voltage.flatten(0, 1).any(0)), ("QTc", hug.qtc != 0)):
        named = [target for target, yes in zip(checkpoint.targets, told.tolist(), strict=True) if yes]
        if words and named:
            lines.append(f"- {what}, for {_list(named)}; weights fitted beside answers to {words}.")
    return lines


def _beside(metrics: Mapping[str, Any]) -> list[str]:
    named = {name: one for row in metrics["tasks"].values() for name, one in row["baselines"].items()}
    how = {name: [words for words in one.get("how", ()) if words] for name, one in named.items()}
    lines = [f"- {name}: {'; '.join(dict.fromkeys(words))}." for name, words in how.items() if words]
    if named and "--baselines" not in metrics["command"]:
        lines = [f"What the baselines answered to the same records lies in `{BASELINES}`.", "", *lines]
    return [*lines, ""] if lines else []


def _corpus(training: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Whether it is judged on the corpus it learned from, by the hashes of their tokens."""
    learned, here = (str(of.get("data") or "")[:8] for of in (training, metrics))
    if not learned or not here or learned == here:
        return ""
    return f" Learned from corpus {learned}, judged on {here}: other records, or tokens of another version."


def _what(checkpoint: Checkpoint, metrics: Mapping[str, Any]) -> list[str]:
    training, c = checkpoint.training, checkpoint.model.clear.config
    tuned = training.get("config", {})
    model = checkpoint.model
    million = sum(p.numel() for p in model.parameters()) / 1e6
    beside = []
    if model.hug.straight.any():
        numbers = model.hug.straight.numel() / 1e6
        beside.append(f"{numbers:.2f} M coefficients of the logistic regression that HUG is averaged with")
    if c.centres:
        numbers = sum(buffer.numel() for buffer in model.clear.kernel.buffers()) / 1e6
        beside.append(
            f"{numbers:.2f} M numbers of the kernel regression on {c.centres:,} beats that rebuilds with the "
            "decoder"
        )
    maps = "lead" if checkpoint.model.hug.per_lead else "group"
    stages = "; then ".join(map(_stage, pretraining(training))) or "none"
    beside_it = ", rebuilding hidden tokens beside" if tuned.get("rebuild") else ""
    how = "on a frozen encoder" if tuned.get("frozen") else f"encoder and head together{beside_it}"
    of = _of(checkpoint)
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
        f"{c.decoder_width}; HUG with a first-level map of its own for each {maps}; {million:.2f} M trained "
        "parameters" + (f", and beside them {' and '.join(beside)}" if beside else "") + ". "
        f"Answers {', '.join(t.name for t in checkpoint.tasks)}.",
        "",
        *_criteria(checkpoint),
        f"- Pre-training: {stages}.",
        f"- Fine-tuning, {how}: {training.get('records', 0)} {of}records of folds "
        f"{_list(tuned.get('train_folds'))}{_share(tuned)}, {tuned.get('epochs', 0)} epochs; learned at "
        f"once: {_list(tuned.get('tasks'))}.",
        *_planted(tuned),
        *_taught(training),
        *(
            [f"- Decoder, trained anew on the finished, frozen encoder: {_stage(training['decoder'])}."]
            if "decoder" in training
            else []
        ),
        f"- Calibration and thresholds: {training.get('calibrated_on', 'nothing')}.",
        f"- Data: {_list([SOURCES.get(s, s) for s in training.get('sources', ())])}."
        + _corpus(training, metrics),
        "",
        "## Intended use",
        "",
        "Exploring 12-lead ECGs and the model's reasons, in research and teaching. Not for diagnosis, triage",
        "or treatment.",
        "",
        f"## Figures on {_of(checkpoint, metrics.get('judged'))}fold {_list(metrics['folds'])}, "
        + ("whose labels were never seen" if metrics["pretrained_on_them"] else "never learned from"),
        "",
        f"95 % intervals: {BOOTSTRAPS:,} bootstrap draws of patients (of records, the patient unknown).",
        f"A label with fewer than {INTERVAL_FROM} positives or negatives among the judged records has none.",
        "F1, sensitivity and specificity are at the checkpoint's default thresholds. ECE: expected",
        "calibration error, 10 bins. Chance has an average precision of the share of positives.",
        "*in training* and *here*: records with the label in the training folds, and among those judged.",
        "",
        *_beside(metrics),
    ]


def _subset(task: str, key: str) -> str:
    if key == "field" and task not in TASKS:
        return "every record, which a label set of one's own says to have labels or none"
    return SUBSETS[key]


def _summary(tasks: Mapping[str, Any], counted_from: int) -> list[str]:
    def line(name: str, row: Mapping[str, Any]) -> str:
        field = row["field"]
        every = field["every_label"]
        return (
            f"| {name} | {field['records']} | {len(field['counted'])} | {_interval(field, 'macro_auroc')} | "
            f"{_interval(field, 'macro_average_precision')} | {_interval(field, 'macro_f1')} | "
            f"{_interval(field, 'macro_ece')} | {_interval(every, 'macro_auroc')}, {every['labels']} labels |"
        )

    return [
        f"A macro figure is the mean over the labels with at least {counted_from} positives in training.",
        "Those with fewer stand apart; 'every label' takes in all that the fold has a positive of.",
        "",
        *_table(
            "| task | records | labels counted | macro AUROC (95 %) | average precision (95 %) | F1 (95 %) | "
            "ECE (95 %) | AUROC, every label (95 %) |",
            [line(name, row) for name, row in tasks.items() if "field" in row],
        ),
    ]  # fmt: skip


def _task(name: str, row: Mapping[str, Any], counted_from: int, words: Mapping[str, str]) -> list[str]:
    lines = [f"### {name}", ""]
    if "field" not in row:
        return [*lines, "No record of these folds has one of its labels.", ""]
    lines += _table(
        "| on | records | macro AUROC (95 %) | average precision (95 %) | ECE (95 %) |",
        [
            f"| {_subset(name, key)} | {row[key]['records']} | {_interval(row[key], 'macro_auroc')} | "
            f"{_interval(row[key], 'macro_average_precision')} | {_interval(row[key], 'macro_ece')} |"
            for key in SUBSETS
            if key in row
        ],
    )
    if row["baselines"]:
        lines += _table(
            "| baseline, same records and rules | macro AUROC (95 %) | ours minus it (95 %) | "
            "the same, every label |",
            [
                f"| {name}{_runs(r)} | {_interval(r, 'macro_auroc')} | "
                f"{_interval(r, 'difference', '+')} | {_interval(r['every_label'], 'difference', '+')} |"
                for name, r in row["baselines"].items()
            ],
        )
    apart = [key for key in SUBSETS if key != "field" and row.get(key, {}).get("against")]
    if apart:
        names = list(row["baselines"])
        lines += _table(
            f"| ours minus the baseline, macro AUROC (95 %) | {' | '.join(names)} |",
            [
                f"| {SUBSETS[key]} | "
                + " | ".join(_interval(row[key]["against"][name], "difference", "+") for name in names)
                + " |"
                for key in apart
            ],
        )
    field, trained = row["field"]["labels"], row["positives_in_training"]
    if row["counted"]:
        lines += _table(
            "| label | in words | in training | here | AUROC (95 %) | average precision (95 %) | F1 at "
            "threshold (95 %) | sensitivity | specificity | ECE (95 %) |",
            [
                f"| {_text(label)} | {_text(words[f'{name}/{label}'])} | {trained[label]} | "
                f"{r['positives']} | "
                f"{_interval(r, 'auroc')} | {_interval(r, 'average_precision')} | {_interval(r, 'f1')} | "
                f"{_cell(r['sensitivity'])} | {_cell(r['specificity'])} | {_interval(r, 'ece')} |"
                for label, r in field.items()
                if label in row["counted"]
            ],
        )
    rare = [label for label in field if label not in row["counted"]]
    if rare:
        lines += _table(
            f"| fewer than {counted_from} positives in training | in words | in training | here | AUROC (95 "
            "%) |",
            [
                f"| {_text(label)} | {_text(words[f'{name}/{label}'])} | {trained[label]} | "
                f"{field[label]['positives']} | {_interval(field[label], 'auroc')} |"
                for label in rare
            ],
        )
    return lines


def _runs(row: Mapping[str, Any]) -> str:
    several = f", mean of {row['runs']} runs" if row["runs"] > 1 else ""
    return several + ("" if row.get("folds_known", True) else " (learned from: not known)")


def _calibration(tasks: Mapping[str, Any]) -> list[str]:
    bins = sorted({(b["from"], b["to"]) for row in tasks.values() for b in row["calibration"]})
    found = {name: {b["from"]: b for b in row["calibration"]} for name, row in tasks.items()}

    def cell(b: Mapping[str, Any] | None) -> str:
        return f"{100 * b['said']:.1f} % / {100 * b['seen']:.1f} % ({b['answers']})" if b else "-"

    return [
        "## Calibration",
        "",
        "Probabilities as the app shows them, all records, counted labels together. Each cell: mean",
        "predicted probability / share of positives among them (pairs of record and label).",
        "",
        *_table(
            f"| predicted | {' | '.join(tasks)} |",
            [
                f"| {100 * low:g} to {100 * high:g} % | "
                + " | ".join(cell(found[name].get(low)) for name in tasks)
                + " |"
                for low, high in bins
            ],
        ),
    ]


def _subgroups(tasks: Mapping[str, Any]) -> list[str]:
    names = list(dict.fromkeys(name for row in tasks.values() for name in row["subgroups"]))

    def cell(group: Mapping[str, Any] | None) -> str:
        if not group or not group["labels"]:
            return "-"
        return f"{_interval(group, 'macro_auroc')}; {group['labels']} of {group['records']}"

    return [
        "## Subgroups",
        "",
        "Macro AUROC (95 %); over how many labels (those with enough positives in the subgroup for an",
        "interval) of how many records. Where the number of labels differs, rows are not to be compared.",
        "",
        *_table(
            f"| | {' | '.join(tasks)} |",
            [
                f"| {name} | " + " | ".join(cell(row["subgroups"].get(name)) for row in tasks.values()) + " |"
                for name in names
            ],
        ),
    ]


WAYS = {  # what is hidden -> how the card calls it
    "80 % at random": "80 % of the tokens, at random",
    "a whole beat": "one beat (the middle one) in all leads",
    "one lead": "one lead, rebuilt from the other eleven",
    "all but I, II, V2": "all but I, II and V2, chest leads rebuilt",
}


def _rebuilt(units: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Reconstruction of hidden beats, same records",
        "",
        "Beside a linear regression fitted on the records of the training folds, which sees the same tokens:",
        "each sample from the visible leads and from every lead's mean visible beat. R2 is 1 - squared",
        'error / squared signal: a flat line at the baseline has 0. r is Pearson\'s; MAE is in mV; "its"',
        "is the regression's. Limb leads are sums of one another: to rebuild a single one is simple",
        "arithmetic for the regression.",
        "",
    ]
    if not units:
        return [*lines, "Not measured: no records beside the judged ones to fit the regression on.", ""]
    for unit, row in units.items():
        if unit == "mV":
            lines += [
                f"### Records with voltage: in mV ({row['records']} records; regression fitted on "
                f"{row['fitted_on']})",
                "",
                "The scale of a wholly hidden lead is predicted, never given.",
                "",
            ]
        else:
            lines += [
                f"### Records without voltage: in units of each lead's scale ({row['records']} records; "
                f"regression fitted on {row['fitted_on']})",
                "",
                "There is no scale to predict: a wholly hidden lead is judged by its shape.",
                "",
            ]
        lines += [f"- {WAYS[way]}: {_verdict(leads)}" for way, leads in row["hidden"].items()] + [""]
        if unit == "mV":
            for way, leads in row["hidden"].items():
                lines += _lead_table(WAYS[way], leads)
        else:
            lines += _r2_table(row["hidden"])
    return lines


def _verdict(leads: Mapping[str, Any]) -> str:
    """Where the interval of the difference leaves 0."""
    single = {name: r["difference_95"] for name, r in leads.items() if name in LEADS}
    ours = [name for name, (low, _) in single.items() if low is not None and low > 0]
    theirs = [name for name, (_, high) in single.items() if high is not None and high < 0]
    return f"ours is better in {_list(ours)}; the regression in {_list(theirs)}."


def _lead_table(way: str, leads: Mapping[str, Any]) -> list[str]:
    return _table(
        f"| hidden: {way} | R2 (95 %) | regression's | difference (95 %) | r, ours / its | MAE, ours / its |",
        [
            f"| {lead} | {_interval(r['ours'], 'r2')} | {_cell(r['linear']['r2'])} | "
            f"{_interval(r, 'difference', '+')} | {_pair(r, 'r')} | {_pair(r, 'mae')} |"
            for lead, r in leads.items()
        ],
    )


def _pair(row: Mapping[str, Any], key: str) -> str:
    return f"{_cell(row['ours'][key])} / {_cell(row['linear'][key])}"


def _r2_table(ways: Mapping[str, Any]) -> list[str]:
    leads = list(dict.fromkeys(lead for rows in ways.values() for lead in rows))
    return _table(
        f"| R2, ours / regression's | {' | '.join(WAYS[way] for way in ways)} |",
        [
            f"| {lead} | "
            + " | ".join(_pair(rows[lead], "r2") if lead in rows else "-" for rows in ways.values())
            + " |"
            for lead in leads
        ],
    )


def _elsewhere(sets: Mapping[str, Any]) -> list[str]:
    lines = ["## Other data sets", ""]
    if not sets:
        return [*lines, "Not measured: no records of another data set were at hand.", ""]
    lines += [
        "No label of these was learned, and no threshold or choice of the model taken from them. (Constants",
        "by which waves are measured were set with LUDB's annotated edges in view, limits of signal quality",
        "with LUDB and CinC 2021; a teacher that reads measurements may carry that on.) A label is judged",
        "over the collections that state it; what means it stands in `clear_hug/train/elsewhere.py`.",
        "",
    ]
    for name, row in sets.items():
        pretrained = ", signals pre-trained on without labels" if row["pretrained_on"] else ""
        if row.get("taught"):
            pretrained += ", and in fine-tuning with a teacher's probabilities of PTB-XL's labels for labels"
        if row.get("learned"):
            pretrained += f"; {row['learned']} others, whose labels were learned, are left out"
        failed = f" {row['failed']} could not be tokenised (failures.csv)." if row["failed"] else ""
        lines += [f"{_called(name, row)}; {row['records']} records{pretrained}.{failed}", ""]
        judged = {target: r for target, r in row["labels"].items() if "auroc" in r}
        if judged:
            lines += _table(
                "| label | positives | records | AUROC (95 %) |",
                [
                    f"| {target} | {r['positives']} | {r['records']} | {_interval(r, 'auroc')} |"
                    for target, r in judged.items()
                ],
            )
        few = [
            f"{target} {r['positives']}" for target, r in row["labels"].items() if target not in judged
        ]  # fmt: skip
        if few:
            lines += [f"Too few positives or negatives to judge: {', '.join(few)}.", ""]
    return lines


def _called(name: str, row: Mapping[str, Any]) -> str:
    words = {"SNOMED": "SNOMED CT codes", "LUDB": "the diagnoses of ludb.csv"}
    return f"{ELSEWHERE.get(name, name)}: {words[row['vocabulary']]}"


def faithfulness_lines(figures: Mapping[str, Any]) -> list[str]:
    """What faithfulness.json holds, as Markdown."""
    seen = "which it learned from" if figures["learned_from_them"] else "never learned from"
    lines = [
        "## How far its explanations may be believed",
        "",
        f"    {figures['command']}",
        "",
        f"{figures['records']} records of PTB-XL fold {_list(figures['folds'])}, {seen}, each explained for",
        "its most probable called label; slow methods, and random weights, in one record of ten.",
        "",
        "- Deletion, insertion gap: how much lower or higher the logit is, mean over the steps, when parts",
        f"  are removed or restored in the map's order than in one of {figures['random_orders']} random "
        "orders; above 0 is better.",
        "- Missed: the share of the squared change of the logit, where parts are left out at random, that",
        "  the map does not foretell (captum's infidelity; a map that does not start from an empty record",
        "  is first scaled as suits it best); above 1 is worse than no map.",
        "- Random weights: mean |rank correlation| with the map of a model of random weights; near 0 is",
        f"  good, above {figures['unmoved']:g} the method is unusable.",
        "- Supported / weak / contradicted: records, by the thresholds of `clear_hug/faithfulness.py`.",
        "",
        "Attention over beats is the sum over the leads.",
        "",
    ]
    lines += _table(
        "| method/level | records | deletion gap (95 %) | insertion gap (95 %) | missed | random weights | "
        "supported / weak / contradicted |",
        [
            f"| {name} | {row['records']} | {_interval(row, 'deletion_gap', '+')} | "
            f"{_interval(row, 'insertion_gap', '+')} | {_cell(row['missed'])} | "
            f"{_cell(row['random_weights']['steps'][-1]['absolute_correlation'])}"
            f"{'' if row['usable'] else ' (unusable)'} | {' / '.join(map(str, row['words'].values()))} |"
            for name, row in figures["maps"].items()
        ],
    )
    planted, seeds = figures["planted"], figures["seeds"]
    if planted:
        lines += _table(
            f"| top beat for {planted['target']} is the planted premature one, simulated | records | "
            f"share (95 %), chance {planted['chance']:.3f} |",
            [f"| {name} | {r['records']} | {_interval(r, 'top')} |" for name, r in planted["maps"].items()],
        )
    else:
        lines += ["Planted premature beats: not measured, the checkpoint does not answer PVC.", ""]
    if seeds:
        lines += _table(
            f"| between {len(seeds['checkpoints'])} seeds of fine-tuning, the same pre-training | mean rank "
            "correlation (95 %) |",
            [f"| {name} | {_interval(r, 'correlation', '+')} |" for name, r in seeds["maps"].items()],
        )
    else:
        lines += ["Between seeds of training: not measured.", ""]
    return lines


def _of(checkpoint: Checkpoint, judged: Sequence[str] | None = None) -> str:
    """Whose records, where that is known: of PTB-XL, or of the sources that are judged."""
    sources = checkpoint.training.get("sources", ()) if judged is None else judged
    scp = all(task.vocabulary == "SCP" for task in checkpoint.tasks)
    if scp and (not sources or any(source.startswith("ptbxl") for source in sources)):
        return "PTB-XL "
    return f"{_list(judged)}, " if judged else ""


def _limits(checkpoint: Checkpoint, metrics: Mapping[str, Any]) -> list[str]:
    unseen, flag = metrics["unseen"], metrics["scale_flag"]
    return [
        "## What it cannot see",
        "",
        "- Anything outside 0.67-40 Hz, and the time no 0.96 s token covers (slow rates: the end of T): "
        f"{100 * unseen['share_of_time']:.1f} % of the judged records' time. "
        f"{unseen['beats_dropped']} of their beats have no token; {unseen['records_lacking_a_lead']} of "
        f"{unseen['records']} records lack a lead.",
        "- P waves without a QRS, pauses without a beat, pacing spikes.",
        "- Voltage, where a file does not tell its unit. To know no more than whether a record has voltage "
        f"is an AUROC (0.5: tells nothing), for counted labels, of {_flag_words(flag, metrics['tasks'])}.",
        "- Patients unlike "
        + ("PTB-XL's (Germany, 1989-1996)" if _of(checkpoint) else "those of its training")
        + f"; {unseen['records']} records are judged here.",
    ]


def _flag_words(flag: Mapping[str, float | None], tasks: Mapping[str, Any]) -> str:
    """The range, and the labels it tells most of."""
    told = {
        label: value
        for name, row in tasks.items()
        for label in row["counted"]
        if (value := flag[f"{name}/{label}"]) is not None
    }
    if not told:
        return "not measured"
    far: Sequence[str] = sorted(told, key=lambda label: -abs(told[label] - 0.5))[:3]
    return f"{_cell(min(told.values()))} to {_cell(max(told.values()))}, farthest from 0.5 for " + ", ".join(
        f"{label} {_cell(told[label])}" for label in far
    )
