"""CLEAR, the masked autoencoder over beat tokens; CLEARHUG, the same under the head that diagnoses.

`CLEAR` and `HUG` hold no randomness: the same input gives the same bits. What is random in
pre-training (which tokens are hidden, whether the scale is told) lives in `masked.py`.

Source: Pan et al., "Tracing the Heart's Pathways", AAAI 2026, arXiv 2512.24002; written anew.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from clear_hug.attention import (
    PATTERNS,
    Among,
    Block,
    Layout,
    Norm,
    compact,
    decoder_mask,
    encoder_mask,
    places,
    take,
    token_layout,
)
from clear_hug.batch import Beats
from clear_hug.embed import N_RHYTHM, TYPICAL_SCALE, LeadScale, Rhythm, Timing, rhythm_in_tents
from clear_hug.hug import HUG, N_VOLTS
from clear_hug.kernel import LeadKernel
from clear_hug.leads import N_LEADS
from clear_hug.qt import qtc
from clear_hug.regression import LeadRegression

DECODER = ("decoder_", "bridge", "hidden", "foretold", "to_")
"""What the names of the parameters of CLEAR that serve rebuilding alone begin with."""
DOUBT = 0.5
"""How much less counts of what the decoder adds, where held-out records say so: see `CLEAR.rebuild`."""
OF_A_LEAD_SEEN = 0.5  # how much of what the kernel adds counts in a lead of which some beat is seen: likewise
USUAL_QTC, SPREAD_QTC, FARTHEST_QTC = 0.41, 0.03, 3.0  # s, s, and spreads
FARTHEST_VOLTS = 1.5  # mV; farther from the usual counts as that: a wrong gain must not decide alone


@dataclass(frozen=True)
class CLEARConfig:
    """Sizes and choices of a CLEAR encoder and decoder; `PRESETS` names the usual ones.

    token_samples is the length of a beat token at 100 Hz; pattern one of `attention.PATTERNS`; centres: as
    many beats as `LeadKernel` holds others against, 0 where it was not learned.
    """

    width: int = 192
    depth: int = 6
    heads: int = 6
    feed_forward: int = 384
    decoder_width: int = 128
    decoder_depth: int = 2
    decoder_heads: int = 4
    decoder_feed_forward: int = 256
    pattern: str = "paper"
    token_samples: int = 96
    centres: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = 0 if name == "centres" else 1
            if name != "pattern" and (type(value) is not int or value < least):
                raise ValueError(f"{name} = {value!r}; expected a whole number of at least {least}.")
        for width, heads in (("width", "heads"), ("decoder_width", "decoder_heads")):
            if getattr(self, width) % getattr(self, heads):
                raise ValueError(
                    f"{width} = {getattr(self, width)} does not divide by {heads} = {getattr(self, heads)}."
                )
        if self.pattern not in PATTERNS:
            raise ValueError(f"pattern = {self.pattern!r}; expected one of {', '.join(PATTERNS)}.")


PRESETS: dict[str, CLEARConfig] = {
    "base": CLEARConfig(768, 12, 8, 1024, 512, 4, 16, 1024),  # the paper's sizes
    "small": CLEARConfig(),  # ships
    "mini": CLEARConfig(96, 4, 4, 192, 64, 1, 4, 128),  # quick comparisons
    "tiny": CLEARConfig(32, 2, 4, 64, 32, 1, 4, 64),  # tests
}


@dataclass(frozen=True, eq=False)
class Encoded:
    """What the encoder makes of a batch.

    lead_tokens : (batch, 12, width), of `CLEARHUG.encode` with `N_BESIDE` numbers beside
    lead_there : (batch, 12) bool
    x : (batch, kept, width), layout, index : the sequence without the tokens that are not there; x holds the
        lead tokens alone where only they were asked for
    scale : (batch, 12) of the lead, 1 where it has no token;  told : (batch, 12) bool, in mV and told
    attention : of the last layers asked for, (batch, head, query, kept) each; the queries are those of x
    """

    lead_tokens: Tensor
    lead_there: Tensor
    x: Tensor
    layout: Layout
    index: Tensor
    scale: Tensor
    told: Tensor
    attention: tuple[Tensor, ...] = ()


@dataclass(frozen=True, eq=False)
class Decoded:
    """What the decoder says of hidden tokens: where it starts, and what it adds; see `CLEAR.rebuild`.

    foretold : (batch, 12, beat, 96) by `LeadRegression`; mV where units are known, else in lead scales
    correction : (batch, 12, beat, 96) what the decoder adds, in units of the lead's scale
    log_scale : (batch, 12) log of the lead's scale over `reference_log_scale`, predicted from the hidden
        tokens of the lead
    """

    foretold: Tensor
    correction: Tensor
    log_scale: Tensor


class CLEAR(nn.Module):
    """Encoder over beat and lead tokens, and the decoder that rebuilds hidden beats."""

    def __init__(self, config: CLEARConfig) -> None:
        super().__init__()
        self.config = c = config
        self.token = nn.Linear(c.token_samples, c.width)
        self.lead = nn.Parameter(torch.zeros(N_LEADS, c.width))  # added to the beats of a lead
        self.summary = nn.Parameter(torch.zeros(N_LEADS, c.width))  # c[l], the lead token
        self.scale = LeadScale(c.width)
        self.timing = Timing(c.width)
        self.rhythm = Rhythm(c.width)
        self.blocks = nn.ModuleList(Block(c.width, c.heads, c.feed_forward) for _ in range(c.depth))
        self.norm = Norm(c.width)

        self.regression = LeadRegression()
        self.kernel = LeadKernel(c.centres, c.token_samples)
        self.foretold = nn.Linear(c.token_samples + 1, c.decoder_width)
        self.bridge = nn.Linear(c.width, c.decoder_width)
        self.hidden = nn.Parameter(torch.zeros(c.decoder_width))
        self.decoder_lead = nn.Parameter(torch.zeros(N_LEADS, c.decoder_width))
        self.decoder_timing = Timing(c.decoder_width)
        self.decoder_blocks = nn.ModuleList(
            Block(c.decoder_width, c.decoder_heads, c.decoder_feed_forward) for _ in range(c.decoder_depth)
        )
        self.decoder_norm = Norm(c.decoder_width)
        self.to_samples = nn.Linear(c.decoder_width, c.token_samples)
        self.to_scale = nn.Linear(c.decoder_width, 1)
        self.apply(_initialise)
        for parameter in (self.lead, self.summary, self.hidden, self.decoder_lead, self.scale.unknown):
            nn.init.trunc_normal_(parameter, std=0.02)
        nn.init.zeros_(self.foretold.weight)  # so that it comes in gently where a decoder has learned without

    def encode(
        self,
        beats: Beats,
        attention: int = 0,
        scale_told: Tensor | None = None,
        scale: Tensor | None = None,
        leads_only: bool = False,
    ) -> Encoded:
        """Encode what is there.

        Parameters
        ----------
        beats : Beats
        attention : of how many of the last layers to return the attention weights too
        scale_told : (batch,) bool; False withholds the lead scale of a record although it is known
        scale : (batch, 12) to read the leads over in place of their own, where their values were changed
        leads_only : in the last layer only lead tokens go on, which is all that a diagnosis reads

        """
        own, lead_there = beats.lead_scale()
        scale = own if scale is None else scale
        there = beats.there
        told = beats.units_known if scale_told is None else beats.units_known & scale_told
        layout, index = compact(token_layout(there))
        lead, beat, shown = (part[:, N_LEADS:] for part in layout)
        x = take(beats.values.flatten(1, 2), index[:, N_LEADS:] - N_LEADS).float()
        # masked before it is divided: what is hidden must not reach the gradient of the scale either
        x = torch.where(shown[..., None], x, 0.0) / scale.gather(1, lead)[..., None]
        timing = self.timing(beats.seconds, there.any(1))
        tokens = self.token(x) + named(lead, self._narrow(self.lead)) + named(beat, self._narrow(timing))
        summary = self.summary + self.scale(scale, told[:, None] & lead_there)
        summary = summary + self.rhythm(beats.seconds, there.any(1))[:, None]
        sequence = self._narrow(torch.cat([summary.to(tokens.dtype), tokens], dim=1))
        mask = encoder_mask(layout, self.config.pattern)
        maps = []
        for i, block in enumerate(self.blocks):
            last = N_LEADS if leads_only and i == len(self.blocks) - 1 else None
            sequence, weights = block(sequence, mask, i >= len(self.blocks) - attention, last)
            if weights is not None:
                maps.append(weights)
        sequence = self.norm(sequence)
        told = told[:, None] & lead_there
        return Encoded(sequence[:, :N_LEADS], lead_there, sequence, layout, index, scale, told, tuple(maps))

    def decode(self, beats: Beats, encoded: Encoded, wanted: Tensor) -> Decoded:
        """Rebuild hidden tokens from what `encoded` saw; `Decoded` is meaningful where `wanted`.

        Parameters
        ----------
        beats : the records with the hidden tokens not there
        encoded : encode(beats)
        wanted : (batch, 12, beat) bool; the hidden tokens to rebuild

        """
        batch, _, n_beats = beats.there.shape
        with torch.autocast(encoded.x.device.type, enabled=False):
            foretold, share = self.regression(beats, encoded.scale, wanted)
        scale = torch.where(
            encoded.lead_there, encoded.scale, reference_log_scale(encoded.scale, encoded.lead_there).exp()
        )
        known = torch.cat([in_lead_scales(foretold, scale, beats.units_known), share[..., None]], -1)
        index = places(wanted.flatten(1))
        here = take(wanted.flatten(1)[..., None], index)  # the rest fills up
        lead, beat = index // n_beats, index % n_beats
        timing = self._narrow(self.decoder_timing(beats.seconds, (beats.there | wanted).any(1)))
        of_lead = self._narrow(self.decoder_lead)

        def place(lead: Tensor, beat: Tensor) -> Tensor:
            return named(lead, of_lead) + named(beat, timing)

        hidden = (
            self._narrow(self.hidden) + self.foretold(take(known.flatten(1, 2), index)) + place(lead, beat)
        )
        seen = self.bridge(encoded.x)
        beats_seen = seen[:, N_LEADS:] + place(
            encoded.layout.lead[:, N_LEADS:], encoded.layout.beat[:, N_LEADS:]
        )
        x = torch.cat([hidden.to(seen.dtype), seen[:, :N_LEADS], beats_seen.to(seen.dtype)], dim=1)
        of_hidden = Layout(lead, beat, torch.zeros_like(here[..., 0]))
        layout = Layout(*(torch.cat(both, 1) for both in zip(of_hidden, encoded.layout, strict=True)))
        kept = torch.cat([here[..., 0], encoded.layout.there], 1)  # who hides much shows little
        kept[:, index.shape[1] : index.shape[1] + N_LEADS] = True
        order = places(kept)
        start = torch.full_like(index[:, 0], index.shape[1])  # of what is seen
        if order.shape != kept.shape:
            x, layout = take(x, order), Layout(*(torch.gather(part, 1, order) for part in layout))
            start = here.sum((1, 2))
        mask = decoder_mask(layout, self.config.pattern)
        among = Among(start, encoded.x.shape[1])
        for i, block in enumerate(self.decoder_blocks):
            last = index.shape[1] if i == len(self.decoder_blocks) - 1 else None
            x, _ = block(x, mask, first=last, among=among)
        x = self.decoder_norm(x)
        in_lead = nn.functional.one_hot(lead, N_LEADS).to(x.dtype) * here
        pooled = in_lead.transpose(1, 2) @ x / in_lead.sum(1)[..., None].clamp_min(1)
        # of the size that the regression leaves open: a lead that is the sum of others needs no correction
        added = self.to_samples(x) * (1 - take(share.flatten(1)[..., None], index)).sqrt()
        correction = added.new_zeros(batch, N_LEADS * n_beats, added.shape[-1])
        correction = correction.scatter(1, index[..., None].expand_as(added), added * here)
        return Decoded(foretold, correction.view_as(foretold), self.to_scale(pooled)[..., 0])

    def _narrow(self, x: Tensor) -> Tensor:
        """In training in bf16 in bf16: half the memory to move."""
        device = x.device.type
        narrow = self.training and torch.is_autocast_enabled(device)
        return x.to(torch.get_autocast_dtype(device)) if narrow else x

    def renew_kernel(self, centres: int) -> None:
        """A kernel of so many centres that has learned nothing yet; what the old one knew goes."""
        self.config = replace(self.config, centres=centres)
        self.kernel = LeadKernel(centres, self.config.token_samples)

    def rebuild(self, beats: Beats, wanted: Tensor, doubt: float = DOUBT) -> tuple[Tensor, Tensor, Tensor]:
        """Rebuild hidden tokens in the record's own unit: by both regressions, and what the decoder adds.

        On records that they did not learn from, what kernel and decoder add is too large in part. Of a lead
        that is wholly hidden the kernel counts in full and the decoder by 1 - `doubt`; of others the kernel
        by half and the decoder by 1 - `doubt` x the share of the record's tokens that are seen.

        Parameters
        ----------
        beats : the records with the hidden tokens not there
        wanted : (batch, 12, beat) bool; the hidden tokens to rebuild

        Returns
        -------
        values : (batch, 12, beat, 96) mV or the record's unit; meaningful where `wanted`
        scale : (batch, 12) the lead's scale: of its visible tokens, or predicted where it has none
        seen : (batch, 12) bool; the lead has a visible token

        """
        encoded = self.encode(beats)
        decoded = self.decode(beats, encoded, wanted)
        with torch.autocast(encoded.x.device.type, enabled=False):
            alike = self.kernel(self.regression, beats, encoded.scale, wanted)
        reference = reference_log_scale(encoded.scale, encoded.lead_there)
        scale = torch.where(encoded.lead_there, encoded.scale, (decoded.log_scale.float() + reference).exp())
        wide = scale[..., None, None]
        hold = torch.where(encoded.lead_there, OF_A_LEAD_SEEN, 1.0)
        foretold = decoded.foretold + hold[..., None, None] * alike
        foretold = torch.where(beats.units_known[:, None, None, None], foretold, foretold * wide)
        slots = (beats.there | wanted).any(1).sum(1).clamp_min(1)
        share = beats.there.sum((1, 2)) / (N_LEADS * slots)
        trust = 1 - doubt * torch.where(encoded.lead_there, share[:, None], 1.0)
        added = decoded.correction.float() * (trust[..., None, None] * wide)
        return foretold + added, scale, encoded.lead_there


def in_lead_scales(foretold: Tensor, scale: Tensor, units_known: Tensor) -> Tensor:
    """What `LeadRegression` foretells, in units of a (batch, 12) scale.

    Bounded: a lead whose few visible samples were flat by chance must own neither the loss nor the input.
    """
    known = units_known[:, None, None, None]
    return torch.where(known, foretold / scale[..., None, None], foretold).clamp(-20, 20)


def named(which: Tensor, rows: Tensor) -> Tensor:
    """(batch, token, width): those of `rows` (..., n, width) that `which` (batch, token) names.

    By a product, for its gradient is one too, where that of an index is a sum one by one.
    """
    with torch.autocast(rows.device.type, enabled=False):
        return nn.functional.one_hot(which, rows.shape[-2]).to(rows.dtype) @ rows


def reference_log_scale(scale: Tensor, there: Tensor) -> Tensor:
    """(batch, 1) mean log scale of the visible leads: what `CLEAR.decode` predicts scales against."""
    log = torch.where(there, scale.log(), 0.0)
    mean = log.sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp_min(1)
    return torch.where(there.any(1, keepdim=True), mean, math.log(TYPICAL_SCALE))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class Facts(nn.Module):
    """Lead scale, voltage, QTc and rhythm as HUG reads them: not through the blocks.

    Six layers that learn from a few thousand labels dilute them: without this, heart rate itself was
    hardly read from lead tokens, nor was voltage, which few of the records have. The lead scale is added to
    the token, the others stand beside it, less the usual, so that what is not known says nothing. `usual`
    (12, 2): the mean R and S of the training records in mV; `usual_rhythm` (N_RHYTHM,) that of their rhythm.
    """

    GAIN = 3.0  # at the start about as large as a lead token
    usual: Tensor
    usual_rhythm: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = LeadScale(width)
        self.register_buffer("usual_rhythm", torch.zeros(N_RHYTHM))
        self.register_buffer("usual", torch.zeros(N_LEADS, N_VOLTS))
        with torch.no_grad():
            cast(nn.Linear, self.scale.known[-1]).weight.mul_(self.GAIN)

    def secant(self, beats: Beats) -> Tensor:
        """(batch, 12, 2) bounded mV a mV of R and S, on the whole way from none to what they are."""
        found = beats.r_and_s(math.inf)
        rise = self._bounded(beats.r_and_s()) - self._bounded(torch.zeros_like(found))
        return rise / torch.where(found == 0, 1.0, found)

    def _bounded(self, r_and_s: Tensor) -> Tensor:
        return (r_and_s - self.usual).clamp(-FARTHEST_VOLTS, FARTHEST_VOLTS)

    def qtc(self, beats: Beats) -> Tensor:
        """(batch,) QTc less the usual, in spreads of it, bounded; 0 where it is not known."""
        off = (qtc(beats) - USUAL_QTC) / SPREAD_QTC
        return torch.where(off.isfinite(), off, 0.0).clamp(-FARTHEST_QTC, FARTHEST_QTC)

    def forward(
        self,
        encoded: Encoded,
        beats: Beats,
        secant: Tensor | None = None,
        rhythm: Tensor | None = None,
        qtc: Tensor | None = None,
    ) -> Tensor:
        """(batch, 12, width + N_BESIDE) the lead tokens with the facts in and beside them.

        secant : go on it instead of along the bound, for records on the way from flat beats
        rhythm : (batch, N_RHYTHM) `rhythm_in_tents`, where it is not that of the beats that are there
        qtc : (batch,) as `Facts.qtc`, likewise
        """
        if rhythm is None:
            rhythm = rhythm_in_tents(beats.seconds, beats.there.any(1))
        tokens = encoded.lead_tokens.float() + self.scale(encoded.scale, encoded.told)
        if secant is None:
            volts = self._bounded(beats.r_and_s())
        else:
            volts = self._bounded(torch.zeros_like(secant)) + secant * beats.r_and_s(math.inf)
        volts = torch.where(encoded.told[..., None], volts, 0.0)
        rhythm = torch.where(rhythm.isfinite(), rhythm - self.usual_rhythm, 0.0)
        qtc = self.qtc(beats) if qtc is None else qtc
        of_record = torch.cat([qtc[:, None], rhythm], 1)
        return torch.cat([tokens, volts, of_record[:, None].expand(-1, N_LEADS, -1)], -1)


class CLEARHUG(nn.Module):
    """CLEAR under HUG: beats to logits."""

    def __init__(self, clear: CLEAR, hug: HUG) -> None:
        super().__init__()
        self.clear = clear
        self.facts = Facts(clear.config.width)
        self.hug = hug

    def encode(
        self,
        beats: Beats,
        attention: int = 0,
        scale_told: Tensor | None = None,
        scale: Tensor | None = None,
        leads_only: bool = False,
        secant: Tensor | None = None,
        rhythm: Tensor | None = None,
        qtc: Tensor | None = None,
    ) -> Encoded:
        """`CLEAR.encode`, with the lead tokens as HUG reads them: in fp32, with the facts (see `Facts`)."""
        encoded = self.clear.encode(beats, attention, scale_told, scale, leads_only)
        with torch.autocast(encoded.x.device.type, enabled=False):  # HUG is exact in fp32 only
            return replace(encoded, lead_tokens=self.facts(encoded, beats, secant, rhythm, qtc))

    def forward(
        self,
        beats: Beats,
        scale_told: Tensor | None = None,
        scale: Tensor | None = None,
        secant: Tensor | None = None,
        qtc: Tensor | None = None,
    ) -> Tensor:
        """(batch, label) logits."""
        return self.answer(self.encode(beats, 0, scale_told, scale, leads_only=True, secant=secant, qtc=qtc))

    def foretell(self, encoded: Encoded, gone: Tensor) -> Tensor:
        """(batch, label) what contributions leave of the answer without leads `gone` (batch, 12).

        The rhythm and the QTc, which are the record's and not a lead's, stay.
        """
        tokens, there = encoded.lead_tokens, encoded.lead_there
        with torch.autocast(encoded.x.device.type, enabled=False):
            bias, parts = self.hug.decompose(tokens, there)
            of_record = self.hug.by_rhythm(tokens, there) + self.hug.by_qtc(tokens, there)
            stays = parts.sum(1) * ~gone[..., None] + of_record * gone[..., None]
            return bias + stays.sum(1)

    def answer(self, encoded: Encoded, gone: Tensor | None = None) -> Tensor:
        """(batch, label) logits of what `encode` made of the records.

        gone : (batch, 12) bool, leads whose tokens HUG does not read; the others' stay what they are
        """
        there = encoded.lead_there if gone is None else encoded.lead_there & ~gone
        with torch.autocast(encoded.x.device.type, enabled=False):
            return self.hug(encoded.lead_tokens, there)


def config_dict(config: CLEARConfig) -> dict[str, Any]:
    """The config as JSON-ready values."""
    return asdict(config)
