#!/usr/bin/env bash
# Trains what ships as checkpoints/small, from the data to the figures: about an hour on two cores.
# CLEAR_HUG_DATA names the folder of the data sets. Choices are made on fold 8; fold 9 is for the figures.
# Training that was cut off goes on where it was when this is run again.
set -euo pipefail
cd "$(dirname "$0")/.."
D=${CLEAR_HUG_DATA:?name the folder of the data sets}
run() { .venv/bin/python -m clear_hug.train "$@"; }
T='["superdiagnostic","subdiagnostic","form","rhythm"]'
S=(--init runs/pretrain/checkpoint --recipe.tasks "$T")
SHIP=(--recipe.ship '["superdiagnostic"]' --recipe.epochs 10)
REFIT=(--recipe.train_folds '[1,2,3,4,5,6,7,8]' --recipe.watch_folds '[]')

run prepare --sources "[\"$D/ptbxl\",\"$D/ptbxl_normalized\",\"$D/ludb\",\"$D/cinc2011\",\"$D/cinc2021\",\"$D/cinc2025_chagas\",\"$D/brugada_huca\"]"
run pretrain --resume --run runs/pretrain --recipe.epochs 40 --recipe.batch_size 32 --recipe.lr 1e-3

# Choose and calibrate: learn from folds 1-7, look at 8.
run finetune --resume --run runs/choice "${S[@]}" "${SHIP[@]}"

# Refit on folds 1-8 by the same recipe.
run finetune --resume --run runs/final "${S[@]}" --calibration runs/choice "${SHIP[@]}" "${REFIT[@]}"
rm -rf checkpoints/small && cp -r runs/final/checkpoint checkpoints/small

# Baselines on the same records, and the figures on fold 9.
run baseline --run runs/resnet --recipe.tasks "$T" --recipe.epochs 8 "${REFIT[@]}" --recipe.test_folds '[9]'
run baseline --run runs/random --recipe.kind random --recipe.weight_decay 0.01 "${REFIT[@]}" --recipe.test_folds '[9]'
run evaluate --write true --baselines '{"ResNet": "runs/resnet", "random frozen encoder": "runs/random"}'
.venv/bin/python -m tests.golden.make
