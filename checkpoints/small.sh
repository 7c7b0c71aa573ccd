#!/usr/bin/env bash
# Trains what ships as checkpoints/small, from the data to the figures: about two hours on two cores.
# CLEAR_HUG_DATA names the folder of the data sets. Choices are made on folds 7 and 8; fold 9 is for the
# figures. A run that was cut off goes on when this is started again.
set -euo pipefail
cd "$(dirname "$0")/.."
D=${CLEAR_HUG_DATA:?name the folder of the data sets}
run() { .venv/bin/python -m clear_hug.train "$@"; }
TASKS='["superdiagnostic","subdiagnostic","form","rhythm"]'
RESNET=(--recipe.tasks "$TASKS" --recipe.epochs 8 --recipe.watch_folds '[]')
CHOICE='[1,2,3,4,5,6]' FINAL='[1,2,3,4,5,6,7,8]'

run prepare --sources "[\"$D/ptbxl\",\"$D/ptbxl_normalized\",\"$D/ludb\",\"$D/cinc2011\",\"$D/cinc2021\",\"$D/cinc2025_chagas\",\"$D/brugada_huca\"]"
run pretrain --run runs/pretrain --recipe.epochs 45 --recipe.batch_size 32 --resume

# Teachers: plain ResNets that speak of the records without labels, learned from the same folds as their pupil.
for seed in 1 2 3; do
    teach=("${RESNET[@]}" --recipe.seed "$seed" --recipe.teach true)
    run baseline --run "runs/choice-teacher-$seed" "${teach[@]}" --recipe.train_folds "$CHOICE" --recipe.test_folds '[7,8]'
    run baseline --run "runs/teacher-$seed" "${teach[@]}" --recipe.train_folds "$FINAL" --recipe.test_folds '[8]'
done

# Choose and calibrate: learn from folds 1-6, look at 7 and 8.
TUNE=(--init runs/pretrain/checkpoint --recipe.tasks "$TASKS" --resume)
run finetune --run runs/choice "${TUNE[@]}" --recipe.train_folds "$CHOICE" --recipe.watch_folds '[7,8]' \
    --teachers '["runs/choice-teacher-1","runs/choice-teacher-2","runs/choice-teacher-3"]'

# Refit on folds 1-8 by the same recipe.
run finetune --run runs/final "${TUNE[@]}" --recipe.train_folds "$FINAL" --recipe.watch_folds '[]' \
    --teachers '["runs/teacher-1","runs/teacher-2","runs/teacher-3"]' --calibration runs/choice
rm -rf checkpoints/small && cp -r runs/final/checkpoint checkpoints/small

# Baselines on the same records, and the figures on fold 9.
AGAINST=(--recipe.tasks "$TASKS" --recipe.watch_folds '[]' --recipe.train_folds "$FINAL" --recipe.test_folds '[9]')
run baseline --run runs/resnet "${AGAINST[@]}" --recipe.epochs 8
run baseline --run runs/random "${AGAINST[@]}" --recipe.kind random --recipe.weight_decay 0.01
run evaluate --write true --baselines '{"ResNet": "runs/resnet", "random frozen encoder": "runs/random"}'
.venv/bin/python -m tests.golden.make
