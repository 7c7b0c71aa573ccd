"""HUG, the affine head over lead tokens: lead -> group -> pair of groups -> all.

It holds no randomness, and each logit is its bias plus the contributions of twelve leads, to rounding.

Source: Pan et al., "Tracing the Heart's Pathways", AAAI 2026, arXiv 2512.24002; written anew.
"""

from __future__ import annotations

import warnings
from typing import cast

import torch
from torch import Tensor, nn

from clear_hug.embed import N_RHYTHM
from clear_hug.leads import GROUP_OF, GROUPS, N_LEADS, PAIRS

N_GROUPS = len(GROUPS)
N_VOLTS = 2  # R and S of a lead, which HUG reads beside its token
N_OF_RECORD = 1 + N_RHYTHM  # what is the record's and no lead's: its QTc, then its rhythm
N_BESIDE = N_VOLTS + N_OF_RECORD  # all that it reads beside a token: the voltage, then what is the record's


class HUG(nn.Module):
    """Hierarchical head: lead tokens -> groups -> pairs of groups -> all -> logits; affine throughout.

    Level 1 maps each lead token (one map a group, or one a lead) and takes the mean over the leads
    of a group that are there; level 2 maps each pair of groups; level 3 maps the three pairs. The
    seven vectors are averaged and a linear layer gives the logits.

    Lead tokens are read relative to `reference`, the mean lead token of the training records, so
    that the bias is the logit of an average record and of an empty one: a group without any lead
    adds its level-1 constant alone, which stands in the bias. Hence, whatever is there,

        logits = bias() + contributions().sum over leads.

    Besides, each lead token reaches the logits straight, through no level, by `straight` (12, width, label):
    what ridge regression reads of it (`train/ridge.py`). So does what stands beside it (`Facts`). First its R
    and S in mV, less the usual, by `voltage` (12, 2, label), which is not learned with the rest either
    (`train/criteria.py`). Then what is the record's: its QTc, less the usual, by `qtc` (label,), which is
    weighed there too, and its rhythm, less the usual, by `rhythm` (N_RHYTHM, label): the mean over the leads
    that are there, each of which counts for as much of it.
    """

    reference: Tensor
    straight: Tensor
    voltage: Tensor
    qtc: Tensor
    group_of: Tensor

    def __init__(self, width: int, n_labels: int, per_lead: bool = True) -> None:
        super().__init__()
        self.per_lead = per_lead
        self.level_1 = nn.Parameter(torch.empty(N_LEADS if per_lead else N_GROUPS, width, width))
        self.level_1_bias = nn.Parameter(torch.zeros(N_GROUPS, width))
        self.level_2 = nn.ModuleList([nn.Linear(2 * width, width) for _ in PAIRS])
        self.level_3 = nn.Linear(len(PAIRS) * width, width)
        with warnings.catch_warnings():  # pre-training saves a head that has no label yet
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
            self.head = nn.Linear(width, n_labels)
        self.rhythm = nn.Parameter(torch.zeros(N_RHYTHM, n_labels))
        self.register_buffer("straight", torch.zeros(N_LEADS, width, n_labels))
        self.register_buffer("voltage", torch.zeros(N_LEADS, N_VOLTS, n_labels))
        self.register_buffer("qtc", torch.zeros(n_labels))
        self.register_buffer("reference", torch.zeros(N_LEADS, width + N_BESIDE))
        self.register_buffer("group_of", torch.tensor(GROUP_OF), persistent=False)
        nn.init.xavier_uniform_(self.level_1)
        for layer in (*self.level_2, self.level_3):
            nn.init.xavier_uniform_(layer.weight)
        if n_labels:
            nn.init.trunc_normal_(self.head.weight, std=0.01)

    def _pairs(self) -> list[tuple[nn.Linear, tuple[int, int]]]:
        return list(zip(cast(list[nn.Linear], list(self.level_2)), PAIRS, strict=True))

    def centred(self, lead_tokens: Tensor, lead_there: Tensor) -> Tensor:
        return torch.where(lead_there[..., None], lead_tokens - self.reference, 0.0)

    @property
    def width(self) -> int:
        """Of a lead token, without what stands beside it."""
        return self.head.in_features

    def by_rhythm(self, lead_tokens: Tensor, lead_there: Tensor) -> Tensor:
        """(batch, 12, label): what each lead's part of the rhythm adds to the logits."""
        rhythm = self._of_record(lead_tokens, lead_there)[..., 1:]
        return rhythm @ self.rhythm.to(rhythm.dtype)

    def by_qtc(self, lead_tokens: Tensor, lead_there: Tensor) -> Tensor:
        """(batch, 12, label): what each lead's part of the QTc adds to the logits."""
        return self._of_record(lead_tokens, lead_there)[..., :1] * self.qtc.to(lead_tokens.dtype)

    def _of_record(self, lead_tokens: Tensor, lead_there: Tensor) -> Tensor:
        """(batch, 12, N_OF_RECORD): each lead's part of what is the record's."""
        share = 1 / lead_there.sum(1).clamp_min(1)
        return self.centred(lead_tokens, lead_there)[..., -N_OF_RECORD:] * share[:, None, None]

    def _straight(self, lead_tokens: Tensor, lead_there: Tensor) -> Tensor:
        """(batch, 12, label): what of each lead, its voltage and its part of the record goes straight."""
        centred = self.centred(lead_tokens, lead_there)
        read = torch.cat([self.straight, self.voltage], 1).to(centred.dtype)
        straight = torch.einsum("blv,lvn->bln", centred[..., : read.shape[1]], read)
        return straight + self.by_rhythm(lead_tokens, lead_there) + self.by_qtc(lead_tokens, lead_there)

    def _mapped(self, lead_tokens: Tensor, lead_there: Tensor) -> Tensor:
        """(batch, 12, width): each lead's share of its group's level-1 vector; 0 where absent."""
        maps = self.level_1 if self.per_lead else self.level_1[self.group_of]
        centred = self.centred(lead_tokens, lead_there)[..., : self.width]
        in_group = nn.functional.one_hot(self.group_of, N_GROUPS).to(centred.dtype)
        count = lead_there.to(centred.dtype) @ in_group
        share = 1 / count.clamp_min(1)[:, self.group_of]
        return torch.einsum("bld,lde->ble", centred, maps.to(centred.dtype)) * share[..., None]

    def forward(self, lead_tokens: Tensor, lead_there: Tensor) -> Tensor:
        """(batch, label) logits from lead tokens (batch, 12, width + N_BESIDE) and which leads are there."""
        mapped = self._mapped(lead_tokens, lead_there)
        by_group = mapped.split([len(rows) for rows in GROUPS.values()], dim=1)  # one after another
        groups = self.level_1_bias + torch.stack([one.sum(1) for one in by_group], dim=1)
        pairs = [layer(torch.cat([groups[:, a], groups[:, b]], -1)) for layer, (a, b) in self._pairs()]
        top = self.level_3(torch.cat(pairs, dim=-1))
        seven = groups.sum(1) + torch.stack(pairs, 1).sum(1) + top
        logits: Tensor = self.head(seven / (N_GROUPS + len(PAIRS) + 1))
        return logits + self._straight(lead_tokens, lead_there).sum(1)

    def _effective(self) -> tuple[Tensor, Tensor]:
        """How a group's level-1 vector reaches the logits.

        Returns
        -------
        paths : (7, group, label, width) through the three groups, the three pairs and the top
        bias : (label,) logits of three zero vectors

        """
        width = self.head.in_features
        head = self.head.weight / (N_GROUPS + len(PAIRS) + 1)
        paths = head.new_zeros(N_GROUPS + len(PAIRS) + 1, N_GROUPS, *head.shape)
        constant = torch.zeros_like(self.level_3.bias)
        top_bias: Tensor = self.level_3.bias
        for p, (layer, pair) in enumerate(self._pairs()):
            into_top = self.level_3.weight[:, p * width : (p + 1) * width]
            constant = constant + layer.bias
            top_bias = top_bias + into_top @ layer.bias
            for side, g in enumerate(pair):
                weight = layer.weight[:, side * width : (side + 1) * width]
                paths[N_GROUPS + p, g] = head @ weight
                paths[-1, g] = paths[-1, g] + head @ into_top @ weight
        for g in range(N_GROUPS):
            paths[g, g] = head
        return paths, self.head.bias + head @ (constant + top_bias)

    def bias(self) -> Tensor:
        """(label,) the logits with nothing there: v(empty), and the start of every contribution."""
        paths, bias = self._effective()
        return bias + torch.einsum("pglw,gw->l", paths, self.level_1_bias)

    def contributions(self, lead_tokens: Tensor, lead_there: Tensor) -> Tensor:
        """(batch, 7, 12, label): each lead's exact contribution on each path to the logits.

        Paths 0-2 are the groups themselves (level 1, and what reaches the logits straight), 3-5 the pairs
        (level 2), 6 the top (level 3); the sum over paths is the lead's contribution, and with `bias()` that
        over leads the logit.
        """
        return self.decompose(lead_tokens, lead_there)[1]

    def decompose(self, lead_tokens: Tensor, lead_there: Tensor) -> tuple[Tensor, Tensor]:
        """`bias()` and `contributions()`, for little more than one of them."""
        paths, constant = self._effective()
        mapped = self._mapped(lead_tokens, lead_there)
        by_group = [
            torch.einsum("blw,pnw->bpln", mapped[:, list(rows)], paths[:, g])
            for g, rows in enumerate(GROUPS.values())
        ]
        own = nn.functional.one_hot(self.group_of, len(paths)).T.to(mapped.dtype)  # (7, 12) each lead's group
        straight = torch.einsum("bln,pl->bpln", self._straight(lead_tokens, lead_there), own)
        bias = constant + torch.einsum("pglw,gw->l", paths, self.level_1_bias)
        return bias, torch.cat(by_group, dim=2) + straight  # the groups' leads stand one after another

    @torch.no_grad()
    def centre(self, mean_lead_tokens: Tensor) -> None:
        """Move the reference to (12, width + N_BESIDE) mean lead tokens; no logit of a whole record moves.

        What is the record's is one for all leads, though they may be the means of other records.
        """
        mean_lead_tokens = mean_lead_tokens.clone()
        mean_lead_tokens[:, -N_OF_RECORD:] = mean_lead_tokens[:, -N_OF_RECORD:].mean(0)
        whole = torch.ones(1, N_LEADS, dtype=torch.bool, device=mean_lead_tokens.device)
        moved = self._mapped(mean_lead_tokens[None], whole)[0]
        for g, rows in enumerate(GROUPS.values()):
            self.level_1_bias[g] += moved[list(rows)].sum(0)
        self.head.bias.add_(self._straight(mean_lead_tokens[None], whole)[0].sum(0))
        self.reference.copy_(mean_lead_tokens)
