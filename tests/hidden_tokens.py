"""Random batches with tokens hidden, filled with something else, or padded: for tests of the network."""

from dataclasses import replace

import torch

from clear_hug.batch import Beats


def holes(beats, seed=0, share=0.4):
    """Tokens at random, all of aVR and all of beat 2."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.rand(beats.there.shape, generator=generator) < share
    hidden[:, 3], hidden[:, :, 2] = True, True
    return hidden


def fill(beats, hidden, value):
    """Another content in the hidden tokens."""
    values = torch.where(hidden[..., None], value, beats.values)
    return replace(beats, values=values)


def pad(beats, extra, value=float("nan")):
    """The same records with `extra` slots at the end that are not there and hold `value`."""
    batch, _, n = beats.there.shape

    def grow(x, axis, fill):
        shape = list(x.shape)
        shape[axis] = extra
        return torch.cat([x, torch.full(shape, fill, dtype=x.dtype)], axis)

    return Beats(
        grow(beats.values, 2, value),
        grow(beats.there, 2, False),
        grow(beats.seconds, 1, value),
        grow(beats.inside, 1, True),
        beats.units_known,
    )
