"""The training runs of the folder: how far they are, their curves, and what sets them apart."""

import shlex
from datetime import UTC, datetime, timedelta

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from clear_hug import ui
from clear_hug.plots import MOST_RUNS, curve_words, labelled_tasks, plot_curves, plot_labels
from clear_hug.runs import TrainingRun, age_words, differences, passed_over, runs_folder
from clear_hug.ui import guard, open_page

page = open_page("Training")

EVERY = 5  # s, between two looks at a run that goes on
LIVE = "training_live"  # session_state: whether a chosen run goes on
ROWS = 5  # of the table that are seen at once


def show_table(runs: dict[str, TrainingRun], now: datetime) -> None:
    rows = []
    for run in runs.values():
        main = next(iter(run.columns), "")
        value = run.last(main)
        rows.append(
            {
                "Run": run.name,
                "Stage": run.stage or "not told",
                "State": run.state_words(now),
                "Epoch": f"{run.epoch} of {run.epochs}" if run.epochs else str(run.epoch),
                "Last written": f"{age_words(now - run.updated)} ago" if run.updated else "not told",
                "Last value": "" if value is None else f"{value:.4g}",
                "of": curve_words(main).split(",")[0] if main else "",
                "Started, UTC": f"{run.started:%Y-%m-%d %H:%M}" if run.started else "not told",
            }
        )
    seen = min(len(rows), ROWS)
    widths = {"Stage": 80, "Epoch": 80, "Last written": 95, "Last value": 80, "Started, UTC": 125}
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height=35 * (seen + 1) + 3,
        column_config={name: st.column_config.TextColumn(width=width) for name, width in widths.items()},
    )


def show_progress(run: TrainingRun) -> None:
    said = [f"step {run.step} of {run.steps}"] if run.steps else ["no step told yet"]
    if run.rate:
        said.append(f"{run.rate:g} ECG/s")
    if run.seconds_left is not None:
        said.append(f"about {age_words(timedelta(seconds=run.seconds_left))} left")
    st.caption(f"**{ui.say(run.name)}** is running: {ui.say(', '.join(said))}. This page follows it.")


def show_curves(chosen: list[TrainingRun], menu: DeltaGenerator) -> None:
    columns = list(dict.fromkeys(name for run in chosen for name in run.columns))
    if not columns:
        st.markdown("The log holds no row yet: one is written after each epoch.")
        return
    words = {curve_words(column): column for column in columns}
    with menu:
        column = words[ui.menu("Curve", list(words), "curve")]
    names = ", ".join(run.name for run in chosen)
    figure = plot_curves(chosen, column, dark=page.dark)
    ui.show(figure, "curves", f"{curve_words(column)} over the epochs of {names}")
    lacking = [run.name for run in chosen if column not in run.log]
    if lacking:
        st.caption(f"Without this curve: {ui.say(', '.join(lacking))}.")


def show_labels(chosen: list[TrainingRun]) -> None:
    tasks = labelled_tasks(chosen)
    to_judge = [run for run in chosen if run.stage == "finetune" and not labelled_tasks([run])]
    if tasks or to_judge:
        st.markdown("#### Each label")
    if not tasks:
        for run in to_judge[:1]:
            checkpoint = shlex.quote(str(run.folder / "checkpoint"))
            st.markdown("Not evaluated yet. The figures of each label come from")
            st.code(f"python -m clear_hug.train evaluate --checkpoint {checkpoint} --write true", "bash")
        return
    task = ui.choices("Label set", tasks, "labels") if len(tasks) > 1 else tasks[0]
    names = ", ".join(run.name for run in chosen)
    ui.show(plot_labels(chosen, task, dark=page.dark), "labels_figure", f"AUROC of each label, by {names}")
    judged = {run.name: (run.metrics.get("folds"), run.metrics.get("data")) for run in chosen if run.metrics}
    if len(set(map(str, judged.values()))) > 1:
        folds = "; ".join(f"{name} on folds {folds}" for name, (folds, _) in judged.items())
        st.warning(ui.say(f"These runs were not judged on the same records: {folds}."))
    if to_judge:
        st.caption(f"Not evaluated yet: {ui.say(', '.join(run.name for run in to_judge))}.")


def show_differences(chosen: list[TrainingRun]) -> None:
    told = [run for run in chosen if run.config]
    if len(told) < 2:
        return
    st.markdown("#### What sets them apart")
    differs = differences(told)
    if not differs:
        st.markdown("Nothing: they were begun alike.")
        return
    rows = [
        {"Setting": name, **dict(zip((run.name for run in told), map(setting_words, values), strict=True))}
        for name, values in differs.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, placeholder="–")


def setting_words(value: object) -> str:
    if value is None:
        return "—"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def show_runs() -> None:
    """All of the page; runs again by itself while a chosen run goes on."""
    with guard():
        runs, now = ui.training_runs(), datetime.now(UTC)
        if not runs:
            show_empty()
            return
        show_table(runs, now)
        pick, menu = st.columns([3, 2])
        with pick:
            names = list(runs)
            label = f"Runs to compare, {MOST_RUNS} at most"
            chosen = [runs[name] for name in ui.several(label, names, "runs", names[:2], MOST_RUNS)]
        for run in chosen:
            if run.state == "failed":
                st.error(ui.say(f"{run.name} failed: {run.error or 'it does not say why.'}"))
            elif run.alive(now):
                show_progress(run)
        if chosen:
            show_curves(chosen, menu)
            show_labels(chosen)
            show_differences(chosen)
        else:
            st.markdown("Choose a run.")
        if notes := [f"{run.name}: {note}" for run in chosen for note in run.notes]:
            st.caption(ui.bullets(notes))
        if none := passed_over(runs_folder()):
            with st.expander(f"Passed over in {ui.say(str(runs_folder()))} ({len(none)})"):
                st.caption(ui.bullets(none))
        live = any(run.alive(now) for run in chosen)
        if live != st.session_state.get(LIVE, False):
            st.session_state[LIVE] = live
            st.rerun()  # anew, with the other pace


def show_empty() -> None:
    folder = runs_folder()
    where = f"{folder} holds no run" if folder.is_dir() else f"There is no folder {folder} yet"
    st.markdown(f"**{ui.say(where)}.** Begin one, and it is shown here while it goes on:")
    st.code("python -m clear_hug.train pretrain --run runs/first", language="bash")
    st.markdown(ui.say("Runs that are elsewhere are found where CLEAR_HUG_RUNS names their folder."))
    st.markdown(ui.bullets(passed_over(folder)))


st.fragment(show_runs, run_every=EVERY if st.session_state.get(LIVE) else None)()
