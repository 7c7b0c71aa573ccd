"""A checkpoint comes back bit for bit, or says what is wrong with it."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from clear_hug.checkpoint import (
    Checkpoint,
    CheckpointError,
    list_checkpoints,
    load_checkpoint,
    mend_checkpoint,
    save_checkpoint,
)
from clear_hug.diagnosis import diagnose
from clear_hug.hug import HUG
from clear_hug.model import CLEAR, CLEARHUG, PRESETS
from clear_hug.tasks import TASKS, own_tasks

SUPER = (TASKS["superdiagnostic"],)


@pytest.fixture
def folder(checkpoint_folder, tmp_path):
    """A copy to break."""
    return shutil.copytree(checkpoint_folder, tmp_path / "broken")


def edit_json(path, **changes):
    value = json.loads(path.read_text())
    value.update(changes)
    path.write_text(json.dumps(value))


def edit_tensors(path, change):
    state = load_file(path)
    change(state)
    save_file(state, path)
    config = json.loads((path.parent / "config.json").read_text())
    config["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()  # other weights, not torn ones
    (path.parent / "config.json").write_text(json.dumps(config))


def test_a_checkpoint_comes_back_bit_for_bit(checkpoint, tmp_path, random_beats, tokens):
    copy = load_checkpoint(
        save_checkpoint(
            tmp_path / "copy",
            checkpoint.model,
            checkpoint.tasks,
            platt=checkpoint.platt,
            thresholds=checkpoint.thresholds,
            training=checkpoint.training,
            metrics=checkpoint.metrics,
        )
    )
    for (name, a), (_, b) in zip(
        checkpoint.model.state_dict().items(), copy.model.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), name
    beats = random_beats(2)
    assert torch.equal(copy.model(beats), checkpoint.model(beats))
    np.testing.assert_array_equal(copy.platt, checkpoint.platt)
    np.testing.assert_array_equal(copy.thresholds, checkpoint.thresholds)
    assert (copy.tasks, copy.training, copy.metrics) == (
        checkpoint.tasks,
        {"stage": "none"},
        {"macro_auroc": 0.5},
    )
    assert copy.digest == checkpoint.digest and copy.name == "copy"
    np.testing.assert_array_equal(
        diagnose(copy, tokens).probabilities, diagnose(checkpoint, tokens).probabilities
    )


def test_a_loaded_model_is_frozen_and_in_evaluation_mode(checkpoint):
    assert not any(module.training for module in checkpoint.model.modules())
    assert not any(p.requires_grad for p in checkpoint.model.parameters())
    with pytest.raises(ValueError, match="read-only"):
        checkpoint.thresholds[0] = 0.9


def test_nothing_is_pickled(checkpoint_folder):
    files = {p.name for p in checkpoint_folder.iterdir()}
    assert files == {"model.safetensors", "config.json", "calibration.json", "metrics.json", "README.md"}
    for path in checkpoint_folder.iterdir():
        assert b"pickle" not in path.read_bytes() and path.read_bytes()[:2] not in (b"PK", b"\x80\x02")
    for path in checkpoint_folder.glob("*.json"):
        json.loads(path.read_text())


def test_the_digest_follows_weights_and_calibration(folder, checkpoint):
    def nudge(state):
        state["hug.head.bias"][0] += 1e-3

    assert load_checkpoint(folder).digest == checkpoint.digest
    edit_tensors(folder / "model.safetensors", nudge)
    nudged = load_checkpoint(folder).digest
    calibration = json.loads((folder / "calibration.json").read_text())
    calibration["superdiagnostic/MI"]["threshold"] += 0.01
    (folder / "calibration.json").write_text(json.dumps(calibration))
    assert len({checkpoint.digest, nudged, load_checkpoint(folder).digest}) == 3


FILES = ["model.safetensors", "config.json", "calibration.json"]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"broken/{name} cannot be read"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_torn_file_is_named(folder, name, share):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match=f"broken/{name}"):
        load_checkpoint(folder)


def test_weights_that_are_a_pickle_are_refused(folder):
    torch.save({"clear.summary": torch.zeros(12, 32)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(folder)


def rename(state):
    state["clear.tokken.bias"] = state.pop("clear.token.bias")


def reshape(state):
    state["clear.lead"] = state["clear.lead"][:11].contiguous()


def spoil(state):
    state["clear.blocks.1.norm_1.weight"][3] = float("nan")


def surplus(state):
    state["clear.zzz"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (rename, "clear.token.bias is missing"),
        (reshape, r"clear.lead is \(11, 32\), expected \(12, 32\)"),
        (spoil, "clear.blocks.1.norm_1.weight holds values that are not finite"),
        (surplus, r"clear.zzz is \(3,\), expected nothing"),
    ],
)
def test_a_wrong_tensor_is_named(folder, change, words):
    edit_tensors(folder / "model.safetensors", change)
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 99}, "format 99"),
        ({"labels": ["superdiagnostic/MI"]}, "labels are not those of superdiagnostic"),
        ({"tasks": ["superdiagnosis"]}, "superdiagnosis"),
        ({"tasks": ["form"]}, "labels are not those of form"),
        ({"clear": {"width": 30, "heads": 4}}, "30 does not divide"),
        ({"clear": {"width": 32, "heads": 0}}, "heads = 0"),
        ({"clear": {"widht": 32}}, "widht"),
        ({"clear": None}, "does not describe a model"),
        ({"hug": {"levels": 3}}, "levels"),
    ],
)
def test_a_config_that_describes_no_model_is_refused_in_words(folder, changes, words):
    edit_json(folder / "config.json", **changes)
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "calibration.json"])
def test_json_that_is_no_object_is_named(folder, name):
    (folder / name).write_text("[1, 2]")
    with pytest.raises(CheckpointError, match=f"broken/{name} holds no object"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"slope": 1.0, "threshold": 0.5}, "intercept"),
        ("0.5", "calibration.json"),
        ({"slope": "steep", "intercept": 0, "threshold": 0.5}, "steep"),
        ({"slope": float("nan"), "intercept": 0, "threshold": 0.5}, "superdiagnostic/MI holds no finite"),
        ({"slope": 1, "intercept": 0, "threshold": None}, "superdiagnostic/MI holds no finite|NoneType"),
    ],
)
def test_a_broken_calibration_is_refused_in_words(folder, row, words):
    edit_json(folder / "calibration.json", **{"superdiagnostic/MI": row})
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(folder)


def test_a_label_without_calibration_is_named(folder):
    value = json.loads((folder / "calibration.json").read_text())
    del value["superdiagnostic/HYP"]
    (folder / "calibration.json").write_text(json.dumps(value))
    with pytest.raises(CheckpointError, match="superdiagnostic/HYP"):
        load_checkpoint(folder)


def test_metrics_may_be_missing_but_not_torn(folder):
    (folder / "metrics.json").unlink()
    assert load_checkpoint(folder).metrics == {}
    (folder / "metrics.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"metrics\.json cannot be read"):
        load_checkpoint(folder)


def test_faithfulness_stays_with_the_weights_that_it_was_measured_on(folder, checkpoint):
    def save(checkpoint, **changes):
        parts = {"platt": checkpoint.platt, "thresholds": checkpoint.thresholds, **changes}
        save_checkpoint(folder, checkpoint.model, checkpoint.tasks, **parts)
        return load_checkpoint(folder).faithfulness

    figures = {"checkpoint": checkpoint.digest, "unusable": ["rollout"]}
    assert checkpoint.faithfulness == {} and not (folder / "faithfulness.json").exists()
    assert save(checkpoint, faithfulness=figures) == figures
    assert save(checkpoint, metrics={"auroc": 0.6}) == figures
    assert save(checkpoint, thresholds=np.full(5, 0.25)) == {}
    assert not (folder / "faithfulness.json").exists()


def test_faithfulness_of_other_weights_is_refused(folder, checkpoint):
    path = folder / "faithfulness.json"
    path.write_text(json.dumps({"checkpoint": checkpoint.digest}))
    assert load_checkpoint(folder).faithfulness
    path.write_text(json.dumps({"checkpoint": "of another"}))
    with pytest.raises(CheckpointError, match="faithfulness.json was measured on other weights.*delete it"):
        load_checkpoint(folder)
    path.write_text("{")
    with pytest.raises(CheckpointError, match=r"faithfulness\.json cannot be read"):
        load_checkpoint(folder)


def test_an_unknown_checkpoint_names_those_that_ship(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint.*nowhere.*shipped: "):
        load_checkpoint(tmp_path / "nowhere")


def test_a_model_of_other_labels_is_not_saved(random_model, tmp_path):
    with pytest.raises(CheckpointError, match="3 logits, the tasks 5 labels"):
        save_checkpoint(tmp_path / "x", random_model(n_labels=3), SUPER)
    assert not list(tmp_path.iterdir())


def test_saving_over_a_checkpoint_replaces_it_whole(random_model, tmp_path):
    folder = save_checkpoint(tmp_path / "x", random_model(seed=1), SUPER)
    (folder / "left_over.txt").write_text("from before")
    save_checkpoint(folder, random_model(seed=2), SUPER, card="# new\n")
    assert not (folder / "left_over.txt").exists() and (folder / "README.md").read_text() == "# new\n"
    again = load_checkpoint(folder).model.hug.head.weight
    assert torch.equal(again, random_model(seed=2).hug.head.weight)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_save_that_fails_leaves_the_old_checkpoint(random_model, tmp_path):
    folder = save_checkpoint(tmp_path / "x", random_model(seed=1), SUPER)
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(folder, random_model(seed=2), SUPER, metrics={"auroc": float("nan")})
    assert torch.equal(load_checkpoint(folder).model.hug.head.weight, random_model(seed=1).hug.head.weight)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_the_default_is_listed_first_and_one_being_written_not_at_all(tmp_path):
    for name in ("zeta", "alpha", "small", ".small-being-written"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
    (tmp_path / "empty").mkdir()
    assert list_checkpoints(tmp_path) == ["small", "alpha", "zeta"]


def test_a_target_is_a_label_or_task_and_label(checkpoint):
    assert checkpoint.targets[checkpoint.row("superdiagnostic/STTC")] == "superdiagnostic/STTC"
    assert checkpoint.row("STTC") == checkpoint.row("superdiagnostic/STTC")
    assert checkpoint.description["superdiagnostic/MI"] == "myocardial infarction"
    with pytest.raises(ValueError, match="'AFIB' is not answered.*superdiagnostic/NORM"):
        checkpoint.row("AFIB")


def test_a_label_set_of_ones_own_comes_back(random_model, tmp_path):
    (task,) = own_tasks(
        {"rr": {"labels": {"PAUSE": "a pause", "FAST": "fast"}, "of_time": ["PAUSE"]}}
    ).values()
    folder = save_checkpoint(tmp_path / "c", random_model("tiny", 2), (task,))
    assert load_checkpoint(folder).tasks == (task,)
    edit_json(folder / "config.json", own_tasks={"rr": {"labels": {"PAUSE": ""}}})
    with pytest.raises(CheckpointError, match="PAUSE has no words"):
        load_checkpoint(folder)
    edit_json(folder / "config.json", own_tasks=None)
    with pytest.raises(CheckpointError, match="does not describe a model"):
        load_checkpoint(folder)


def test_a_label_of_two_tasks_needs_its_task(random_model):
    tasks = (TASKS["superdiagnostic"], TASKS["subdiagnostic"])
    n = sum(len(task.labels) for task in tasks)
    both = Checkpoint(random_model(n_labels=n), "x", tasks, np.tile([1.0, 0.0], (n, 1)), np.full(n, 0.5))
    with pytest.raises(ValueError, match="'NORM' stands in several"):
        both.row("NORM")
    assert both.row("subdiagnostic/NORM") != both.row("superdiagnostic/NORM")


def test_what_a_save_that_was_cut_off_left_is_put_right(tmp_path, random_model):
    folder = save_checkpoint(tmp_path / "checkpoint", random_model(seed=1), SUPER)
    weights = (folder / "model.safetensors").read_bytes()
    folder.rename(tmp_path / ".checkpoint-abc-old")  # cut off between two renames
    (tmp_path / ".checkpoint-abc").mkdir()
    mend_checkpoint(folder)
    assert (folder / "model.safetensors").read_bytes() == weights
    (tmp_path / ".checkpoint-def-old").mkdir()  # cut off before the old one was cleared away
    mend_checkpoint(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    load_checkpoint(folder)


def test_a_run_stands_for_its_checkpoint(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run" / "checkpoint")
    assert load_checkpoint(tmp_path / "run").digest == load_checkpoint(folder).digest


def test_what_was_pre_trained_alone_answers_nothing_and_says_so(tmp_path, tokens):
    torch.manual_seed(0)
    clear = CLEAR(PRESETS["tiny"]).eval()
    save_checkpoint(tmp_path / "pre", CLEARHUG(clear, HUG(clear.config.width, 0)), ())
    with pytest.raises(CheckpointError, match="pre was pre-trained alone and answers no label"):
        diagnose(load_checkpoint(tmp_path / "pre"), tokens)


@pytest.mark.parametrize("how", ["half of it zeros", "one bit"])
def test_weights_that_are_not_those_that_were_written_are_refused(folder, how):
    """A power cut may leave a file of the right length; its header, shapes and numbers look sound."""
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    if how == "one bit":
        content[-100] ^= 1
    else:
        content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model.safetensors is torn"):
        load_checkpoint(folder)
