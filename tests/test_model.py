"""CLEAR under HUG, and the training wrapper: absence, determinism, exactness."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from clear_hug.attention import PATTERNS
from clear_hug.batch import MOST, Beats
from clear_hug.embed import N_RHYTHM, TYPICAL_SCALE, rhythm_in_tents
from clear_hug.hug import HUG, N_VOLTS
from clear_hug.leads import N_LEADS
from clear_hug.model import (
    CLEAR,
    CLEARHUG,
    FARTHEST_VOLTS,
    PRESETS,
    CLEARConfig,
    config_dict,
    reference_log_scale,
)
from tests.hidden_tokens import fill, holes, pad

PATTERNED = [replace(PRESETS["tiny"], pattern=pattern) for pattern in PATTERNS]


def everything(model, beats, wanted):
    """All that a model makes of a batch: logits, lead tokens, rebuilt values, their scale."""
    encoded = model.encode(beats)
    decoded = model.clear.decode(beats, encoded, wanted)
    values, scale, _ = model.clear.rebuild(beats, wanted)
    return model(beats), encoded.lead_tokens, encoded.scale, decoded.log_scale, values, scale


def stack(*records):
    """Records of different beat counts as one padded batch."""
    most = max(r.there.shape[2] for r in records)
    padded = [pad(r, most - r.there.shape[2]) if r.there.shape[2] < most else r for r in records]
    return Beats(**{k: torch.cat([getattr(p, k) for p in padded]) for k in Beats.__dataclass_fields__})


# --- sizes and config ---------------------------------------------------------------------------


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_presets_have_the_sizes_they_promise():
    base = count(CLEAR(PRESETS["base"])) / 1e6
    print(f"base: {base:.1f} M parameters; the paper: 56.6 M, {base - 56.6:+.1f}")
    assert abs(base - 56.6) < 0.6
    small = PRESETS["small"]
    assert count(CLEARHUG(CLEAR(small), HUG(small.width, 59))) <= 3_000_000
    tiny = PRESETS["tiny"]
    assert count(CLEARHUG(CLEAR(tiny), HUG(tiny.width, 5))) < 100_000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 190}, "width = 190 does not divide by heads = 6"),
        ({"decoder_width": 130}, "decoder_width = 130 does not divide by decoder_heads = 4"),
        ({"pattern": "papre"}, "'papre'; expected one of paper, conduction"),
        ({"heads": 0}, "heads = 0"),
        ({"depth": -1}, "depth = -1"),
        ({"feed_forward": 1.5}, "feed_forward = 1.5"),
        ({"token_samples": "96"}, "token_samples = '96'"),
    ],
)
def test_contradictions_in_a_config_are_refused_in_words(change, words):
    with pytest.raises(ValueError, match=words):
        replace(PRESETS["small"], **change)


def test_a_config_survives_json_values():
    assert CLEARConfig(**config_dict(PRESETS["base"])) == PRESETS["base"]


# --- absence ------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", PATTERNED, ids=PATTERNS)
@pytest.mark.parametrize("what", ["ten times", "nan", "inf", "zero"])
def test_hidden_samples_change_no_output_bit(random_model, random_beats, config, what):
    model, beats = random_model(config), random_beats(2)
    hidden = holes(beats)
    content = {
        "ten times": 10 * beats.values,
        "nan": torch.tensor(float("nan")),
        "inf": torch.tensor(float("inf")),
        "zero": torch.tensor(0.0),
    }[what]
    before = everything(model, beats.hide(hidden), hidden)
    after = everything(model, fill(beats, hidden, content).hide(hidden), hidden)
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a, b) and torch.isfinite(a).all()
    seen = model(fill(beats, ~hidden, 10 * beats.values).hide(hidden))
    assert not torch.equal(before[0], seen)  # and what is visible does change them


@pytest.mark.parametrize("config", PATTERNED, ids=PATTERNS)
def test_no_gradient_reaches_a_hidden_sample(random_model, random_beats, config):
    model, beats = random_model(config), random_beats(1)
    hidden = holes(beats)
    values = fill(beats, hidden, torch.tensor(float("nan"))).values.requires_grad_()
    outputs = everything(model, replace(beats, values=values).hide(hidden), hidden)
    sum(x.square().sum() for x in outputs).backward()
    assert (values.grad[hidden] == 0).all()
    assert (values.grad[~hidden] != 0).any(-1).all()
    assert torch.isfinite(values.grad).all()


@pytest.mark.parametrize("pattern", ["paper", "conduction"])
def test_in_one_layer_a_lead_token_depends_on_its_own_beats_alone(random_model, random_beats, pattern):
    model = random_model(replace(PRESETS["tiny"], pattern=pattern, depth=1))
    beats = random_beats(1)
    hidden = holes(beats)
    values = beats.values.clone().requires_grad_()
    encoded = model.clear.encode(replace(beats, values=values).hide(hidden))
    for lead in range(N_LEADS):
        (gradient,) = torch.autograd.grad(
            encoded.lead_tokens[0, lead].square().sum(), values, retain_graph=True
        )
        touched = (gradient[0] != 0).any(-1)
        assert torch.equal(touched[lead], ~hidden[0, lead])
        touched[lead] = False
        assert not touched.any()


@pytest.mark.parametrize("config", PATTERNED, ids=PATTERNS)
@pytest.mark.parametrize("slots", [[-1], [0], [4, 5]])
def test_leaving_a_slot_out_is_hiding_it(random_model, random_beats, config, slots):
    """At either end of a record, where no RR interval bridges the gap."""
    model, beats = random_model(config), random_beats(2)
    keep = [j for j in range(6) if j not in [s % 6 for s in slots]]
    hidden = torch.ones_like(beats.there)
    hidden[:, :, keep] = False
    short = Beats(
        beats.values[:, :, keep], beats.there[:, :, keep], beats.seconds[:, keep], beats.inside[:, keep],
        beats.units_known,
    )  # fmt: skip
    torch.testing.assert_close(model(beats.hide(hidden)), model(short), atol=1e-5, rtol=0)
    assert (model(beats) - model(short)).abs().max() > 1e-3


@pytest.mark.parametrize("config", PATTERNED, ids=PATTERNS)
def test_a_batch_is_its_records_one_by_one_whatever_the_padding_holds(random_model, random_beats, config):
    model = random_model(config)
    records = [random_beats(1, 3, seed=1), random_beats(1, 9, seed=2, units_known=False), random_beats(1, 1)]
    hidden = [torch.rand(r.there.shape, generator=torch.Generator().manual_seed(3)) < 0.3 for r in records]
    records = [r.hide(h) for r, h in zip(records, hidden, strict=True)]
    wanted = stack(*(replace(r, there=h) for r, h in zip(records, hidden, strict=True))).there
    together = everything(model, stack(*records), wanted)
    for i, (record, mine) in enumerate(zip(records, hidden, strict=True)):
        alone = everything(model, record, mine)
        n = mine.shape[2]
        for a, b in zip(alone, together, strict=True):
            b = b[i : i + 1, :, :n] if b.ndim == 4 else b[i : i + 1]
            a, b = (x[mine] if x.ndim == 4 else x for x in (a, b))
            size = max(1.0, float(b.detach().abs().max()))  # what fp32 rounds by follows the largest
            torch.testing.assert_close(a, b, atol=1e-5 * size, rtol=1e-5)


@pytest.mark.parametrize("config", PATTERNED, ids=PATTERNS)
def test_evaluation_is_deterministic(random_model, random_beats, config):
    model, beats = random_model(config), random_beats(2)
    hidden = holes(beats)
    first, second = (everything(model, beats.hide(hidden), hidden) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    state = torch.get_rng_state()
    model(beats)
    assert torch.equal(state, torch.get_rng_state())  # no random number was drawn


@pytest.mark.parametrize("attention", [0, 2])
def test_lead_tokens_are_the_same_without_the_beats_that_nobody_reads(random_model, random_beats, attention):
    model, beats = random_model(), random_beats(3, 5)
    seen = beats.hide(holes(beats))
    every, some = (model.encode(seen, attention, leads_only=only) for only in (False, True))
    torch.testing.assert_close(some.lead_tokens, every.lead_tokens, atol=1e-5, rtol=0)
    assert some.x.shape[1] == 12 < every.x.shape[1]
    for few, many in zip(some.attention, every.attention, strict=True):
        torch.testing.assert_close(few, many[:, :, : few.shape[2]], atol=1e-5, rtol=0)


def test_attention_on_request_gives_the_same_result(random_model, random_beats):
    model, beats = random_model(), random_beats(2)
    plain = model.clear.encode(beats.hide(holes(beats)))
    asked = model.clear.encode(beats.hide(holes(beats)), attention=99)
    assert plain.attention == () and len(asked.attention) == model.clear.config.depth
    torch.testing.assert_close(asked.x, plain.x, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", PATTERNED, ids=PATTERNS)
@pytest.mark.parametrize("left", ["nothing", "one token", "one lead", "one beat"])
def test_little_or_nothing_visible_is_no_nan(random_model, random_beats, config, left):
    model, beats = random_model(config), random_beats(1)
    hidden = torch.ones_like(beats.there)
    if left == "one token":
        hidden[0, 7, 3] = False
    elif left == "one lead":
        hidden[0, 7] = False
    elif left == "one beat":
        hidden[0, :, 3] = False
    visible = beats.hide(hidden)
    for output in everything(model, visible, hidden):
        assert torch.isfinite(output).all()
    if left == "nothing":
        torch.testing.assert_close(model(visible)[0], model.hug.bias(), atol=1e-5, rtol=0)
    else:
        assert (model(visible)[0] - model.hug.bias()).abs().max() > 1e-3


# --- time ---------------------------------------------------------------------------------------


def test_irregular_rr_changes_the_answer(random_model, random_beats):
    model, beats = random_model(), random_beats(1)
    moved = beats.seconds.clone()
    moved[0, 3] += 0.15
    assert (model(beats) - model(replace(beats, seconds=moved))).abs().max() > 1e-3


def test_hug_reads_the_rhythm_beside_every_token_or_the_one_it_is_told(random_model, random_beats):
    """In training beats are left out whose R peaks are known."""
    model, beats = random_model(), random_beats(2)
    whole = rhythm_in_tents(beats.seconds, beats.there.any(1))
    usual = model.facts.usual_rhythm
    assert torch.equal(model.encode(beats).lead_tokens[:, 5, -N_RHYTHM:], whole - usual)
    seen = beats.hide(torch.zeros_like(beats.there).index_fill(2, torch.tensor([3]), True))
    told, guessed = model.encode(seen, rhythm=whole), model.encode(seen)
    assert torch.equal(told.lead_tokens[..., :-N_RHYTHM], guessed.lead_tokens[..., :-N_RHYTHM])
    assert torch.equal(told.lead_tokens[:, :, -N_RHYTHM:], (whole - usual)[:, None].expand(-1, N_LEADS, -1))
    assert (model.answer(told) - model.answer(guessed)).abs().max() > 1e-3
    one = beats.hide(torch.ones_like(beats.there).index_fill(2, torch.tensor([3]), False))
    assert not model.encode(one).lead_tokens[:, :, -N_RHYTHM:].any()  # what is not known says nothing


def test_hug_reads_the_qtc_beside_every_token_or_the_one_it_is_told(random_model, random_beats):
    model, beats = random_model(), random_beats(3)
    beside = 32 + N_VOLTS
    read = model.encode(beats).lead_tokens[..., beside]
    own = model.facts.qtc(beats)
    assert torch.equal(read, own[:, None].expand(-1, N_LEADS)) and len(own.unique()) == 3
    told = model.encode(beats, qtc=own + 1)
    assert torch.equal(told.lead_tokens[..., beside], read + 1)
    moved = model.answer(told) - model.answer(model.encode(beats))
    torch.testing.assert_close(moved, model.hug.qtc.expand(3, -1), atol=1e-5, rtol=0)
    one = beats.hide(torch.ones_like(beats.there).index_fill(2, torch.tensor([3]), False))
    assert not model.encode(one).lead_tokens[..., beside].any()  # what is not known says nothing


# --- scale --------------------------------------------------------------------------------------


def scaled(beats, factor):
    return replace(beats, values=beats.values * factor)


def test_voltage_is_seen_where_units_are_known_and_only_there(random_model, random_beats):
    model = random_model()
    known, unknown = random_beats(2), random_beats(2, units_known=False)
    withheld = torch.zeros(2, dtype=torch.bool)
    close = {"atol": 1e-5, "rtol": 1e-5}
    assert (model(known) - model(scaled(known, 10))).abs().max() > 1e-2
    torch.testing.assert_close(model(unknown), model(scaled(unknown, 10)), **close)
    torch.testing.assert_close(model(known, withheld), model(scaled(known, 10), withheld), **close)
    assert torch.equal(model(known, withheld), model(unknown))
    assert torch.equal(model(known, ~withheld), model(known))
    # one lead's gain
    louder = known.values.clone()
    louder[:, 6] *= 10
    assert (model(known) - model(replace(known, values=louder))).abs().max() > 1e-2


def test_scales_are_predicted_against_the_mean_of_the_visible(random_beats):
    beats = random_beats(2)
    hidden = holes(beats)
    hidden[1] = True
    scale, there = beats.hide(hidden).lead_scale()
    reference = reference_log_scale(scale, there)
    torch.testing.assert_close(reference[0, 0], scale[0, there[0]].log().mean())
    assert reference[1, 0] == pytest.approx(np.log(TYPICAL_SCALE))


# --- what HUG reads, and the answer ----------------------------------------------------------------


def test_r_and_s_are_the_mean_of_the_beats_that_are_there(random_beats):
    beats = random_beats(2)
    values = torch.zeros_like(beats.values)
    values[:, 10, :, 48], values[:, 10, :, 51] = 1.5, -0.4
    values[:, 10, 0, 48] = 3.5
    values[:, 10, :, 70] = 9.0  # a T wave is neither
    whole = replace(
        beats, values=values, there=torch.ones_like(beats.there), inside=torch.ones_like(beats.inside)
    )
    n = whole.there.shape[2]
    torch.testing.assert_close(whole.r_and_s()[0, 10], torch.tensor([1.5 + 2 / n, 0.4]))
    first = torch.zeros_like(whole.there)
    first[:, 10, 0] = True
    torch.testing.assert_close(whole.hide(first).r_and_s()[0, 10], torch.tensor([1.5, 0.4]))
    assert not whole.hide(torch.ones_like(first)).r_and_s().any()
    shaken = torch.where(first[..., None], float("nan"), values)
    assert torch.equal(replace(whole, values=shaken).hide(first).r_and_s(), whole.hide(first).r_and_s())
    assert replace(whole, values=1000 * values).r_and_s().max() <= MOST


def test_hug_reads_voltage_beside_the_token_where_it_is_told(random_model, random_beats):
    model, beats = random_model(), replace(random_beats(2), units_known=torch.tensor([True, False]))
    there = beats.there.any(2)
    told, untold = (model.encode(beats, scale_told=torch.tensor([yes] * 2)) for yes in (True, False))
    volts = told.lead_tokens[..., 32 : 32 + N_VOLTS]
    usual = model.facts.usual
    off = (beats.r_and_s()[0] - usual).clamp(-FARTHEST_VOLTS, FARTHEST_VOLTS)
    torch.testing.assert_close(volts[0], torch.where(there[0, :, None], off, 0.0))
    assert not volts[1].any() and not untold.lead_tokens[..., 32 : 32 + N_VOLTS].any()


def test_an_answer_without_some_leads_reads_the_others_tokens_as_they_are(random_model, random_beats):
    model, beats = random_model(), random_beats(3)
    encoded = model.encode(beats)
    torch.testing.assert_close(model.answer(encoded), model(beats))
    gone = torch.zeros(3, N_LEADS, dtype=torch.bool)
    gone[0, :3], gone[1, 7] = True, True
    without = model.answer(encoded, gone)
    torch.testing.assert_close(without, model.hug(encoded.lead_tokens, ~gone))
    torch.testing.assert_close(without[2], model(beats)[2])
    read_anew = model(beats.hide(gone[..., None].expand(-1, -1, beats.there.shape[2])))
    assert (without - read_anew).abs().max() > 1e-4  # where the others' tokens are made without them


def test_contributions_foretell_the_answer_without_a_lead_and_what_is_of_the_record(
    random_model, random_beats
):
    model, beats = random_model(), random_beats(2)
    encoded = model.encode(beats)
    gone = torch.zeros(2, N_LEADS, dtype=torch.bool)
    gone[0, :3], gone[1, 7] = True, True
    with_rhythm = model.foretell(encoded, gone) - model.hug.bias()
    read = encoded.lead_tokens, encoded.lead_there
    rhythm = (model.hug.by_rhythm(*read) + model.hug.by_qtc(*read)).sum(1)
    with torch.no_grad():
        model.hug.rhythm.zero_()
        model.hug.qtc.zero_()
    parts = model.hug.contributions(encoded.lead_tokens, encoded.lead_there).sum(1)
    without = torch.einsum("bln,bl->bn", parts, (~gone).float())
    torch.testing.assert_close(with_rhythm, without + rhythm, atol=1e-5, rtol=1e-5)
    assert rhythm.abs().max() > 0.1


def test_hug_is_exact_whatever_the_precision_around_it(random_model, random_beats):
    model, beats = random_model(), random_beats(2)
    with torch.autocast("cpu", torch.bfloat16):
        logits, encoded = model(beats), model.encode(beats)
    lead_tokens = encoded.lead_tokens
    exact = model.hug.bias() + model.hug.contributions(lead_tokens, encoded.lead_there).sum((1, 2))
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, exact, atol=1e-5, rtol=0)
    assert not torch.equal(logits, model(beats))  # the encoder did run in bf16


@pytest.mark.parametrize("config", PATTERNED, ids=PATTERNS)
@pytest.mark.parametrize("alike", [True, False], ids=["all hide as much", "some hide more"])
def test_what_is_hidden_in_the_decoder_is_seen_by_itself_alone(random_model, random_beats, config, alike):
    """A GPU looks for the keys of a record among so many alone: see `attention.Among`."""
    beats = random_beats(4, 6)
    hidden = holes(beats)
    if not alike:
        hidden[0] = False
        hidden[0, 7] = True
        hidden[1, :, 1:] = True
    told = []

    def look(_, args, options):
        told.append((args[1], options["among"]))

    clear = random_model(config).clear
    hooks = [block.register_forward_pre_hook(look, with_kwargs=True) for block in clear.decoder_blocks]
    visible = beats.hide(hidden)
    clear.decode(visible, clear.encode(visible), hidden & beats.there)
    for hook in hooks:
        hook.remove()
    assert len(told) == len(clear.decoder_blocks)
    for mask, (start, many) in told:
        at = torch.arange(mask.shape[-1])
        among = (at >= start[:, None]) & (at < start[:, None] + many)
        assert not (mask & ~among[:, None] & ~torch.eye(len(at), dtype=torch.bool)).any()
        assert many < len(at), "else nothing is spared"


def test_blocks_hand_on_bf16_in_training_alone(random_model, random_beats):
    model, beats, seen = random_model(), random_beats(2), []
    model.clear.blocks[0].register_forward_hook(lambda _, __, out: seen.append(out[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        model.eval()(beats)
        model.train()(beats)
    model(beats)
    assert seen == [torch.float32, torch.bfloat16, torch.float32]


@pytest.mark.parametrize(
    ("case", "of_kernel", "of_decoder"), [("a token", 0.5, 0.5), ("most", 0.5, 0.9), ("a lead", 1.0, 0.5)]
)
def test_how_much_counts_of_what_decoder_and_kernel_add(
    random_model, random_beats, case, of_kernel, of_decoder
):
    """However the record is padded; the two are told apart by least squares, on each record alone."""
    clear, beats = random_model().clear, random_beats(2)
    wanted = torch.zeros_like(beats.there)
    if case == "most":
        wanted[:, :, 1:] = True
        wanted[:, 0, 0] = wanted[:, 0, 1] = True
        wanted[:, 0, 2] = False  # of each lead a beat is seen
    else:
        wanted[:, 3, slice(None) if case == "a lead" else 0] = True
    seen, wanted = pad(beats.hide(wanted), 3), torch.nn.functional.pad(wanted & beats.there, (0, 3))
    encoded = clear.encode(seen)
    decoded = clear.decode(seen, encoded, wanted)
    alike = clear.kernel(clear.regression, seen, encoded.scale, wanted)
    values, scale, _ = clear.rebuild(seen, wanted)
    wide = scale[..., None, None]
    unit = torch.where(seen.units_known[:, None, None, None], torch.ones_like(wide), wide)
    for record in range(2):
        on = wanted[record]
        parts = torch.stack([(alike * unit)[record][on], (decoded.correction * wide)[record][on]], -1)
        added = (values - decoded.foretold * unit)[record][on]
        found = torch.linalg.lstsq(parts.flatten(0, 1).double(), added.flatten()[:, None].double())
        kernel, decoder = found.solution[:, 0].tolist()
        assert kernel == pytest.approx(of_kernel, abs=1e-3)
        assert decoder == pytest.approx(of_decoder, abs=0.1 if case == "most" else 0.03)
        assert found.residuals.sum() < 1e-6 * added.square().sum()
