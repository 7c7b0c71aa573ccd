"""A batch of records: lead scales from what is visible, hiding, cutting."""

import numpy as np
import torch

from clear_hug.leads import N_LEADS


def test_the_lead_scale_is_the_sd_over_visible_samples(random_beats):
    beats = random_beats(2)
    hidden = torch.rand(beats.there.shape, generator=torch.Generator().manual_seed(0)) < 0.4
    hidden[:, 3] = True
    visible = beats.hide(hidden)
    scale, there = visible.lead_scale()
    for record in range(2):
        for lead in range(N_LEADS):
            mask = (visible.there[record, lead, :, None] & visible.inside[record]).numpy()
            assert there[record, lead] == mask.any()
            samples = visible.values[record, lead].numpy()[mask]
            expected = samples.std() if mask.any() else 1.0
            np.testing.assert_allclose(scale[record, lead], expected, rtol=1e-5)


def test_hiding_changes_which_tokens_are_there_and_nothing_else(random_beats):
    beats = random_beats(2)
    hidden = torch.zeros_like(beats.there)
    hidden[:, 4, 1] = True
    seen = beats.hide(hidden)
    assert torch.equal(seen.there, beats.there & ~hidden)
    assert seen.values is beats.values and seen.seconds is beats.seconds


def test_the_first_records_of_a_batch_are_those_records(random_model, random_beats):
    model, beats = random_model(), random_beats(3)
    torch.testing.assert_close(model(beats.first(2)), model(beats)[:2], atol=1e-5, rtol=0)
