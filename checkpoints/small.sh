#!/usr/bin/env bash
# Trains what ships as checkpoints/small, from the data to the figures: hours on two cores.
# CLEAR_HUG_DATA names the folder of the data sets. Choices are made on folds 7 and 8; fold 9 is for the
# figures. A run that was cut off goes on when this is started again.
set -euo pipefail
cd "$(dirname "$0")/.."
D=${CLEAR_HUG_DATA:?name the folder of the data sets}
run() { .venv/bin/python -m clear_hug.train "$@"; }
TASKS='["superdiagnostic","subdiagnostic","form","rhythm"]'
FINAL='[1,2,3,4,5,6,7,8]'
RESNET=(--recipe.tasks "$TASKS" --recipe.epochs 8 --recipe.watch_folds '[]')

run prepare --sources "[\"$D/ptbxl\",\"$D/ptbxl_normalized\",\"$D/ludb\",\"$D/cinc2011\",\"$D/cinc2021\",\"$D/cinc2025_chagas\",\"$D/brugada_huca\"]"

# The encoder first learns to rebuild by itself, then the decoder learns to start from the regression over leads.
run pretrain --run runs/pretrain-45 --recipe.epochs 45 --recipe.batch_size 32 --recipe.regression false --resume
run pretrain --run runs/pretrain --init runs/pretrain-45/checkpoint --recipe.epochs 12 --recipe.batch_size 32 \
    --recipe.lr 3e-4 --recipe.warm_up 1 --resume

# Three plain ResNets that learned from some folds speak of the records without labels, and CLEAR-HUG learns
# from those folds and from what they say; then once more, now with changes planted, from what the ResNets and
# the first CLEAR-HUG say.
teach() {  # name, folds to learn from, folds to look at
    for seed in 1 2 3; do
        run baseline --run "runs/$1-teacher-$seed" "${RESNET[@]}" --recipe.seed "$seed" --recipe.teach true \
            --recipe.train_folds "$2" --recipe.test_folds "$3"
    done
}
tune() {  # name, whose teachers, folds to learn from, folds to look at, further options
    local name=$1 of=$2 learn=$3 look=$4
    shift 4
    run finetune --run "runs/$name" --recipe.tasks "$TASKS" --resume --recipe.train_folds "$learn" \
        --recipe.watch_folds "$look" "$@" \
        --teachers "[\"runs/$of-teacher-1\",\"runs/$of-teacher-2\",\"runs/$of-teacher-3\"]"
}
FROM=(--init runs/pretrain/checkpoint)
PLAIN=(--recipe.augment.premature_wide 0 --recipe.augment.premature_narrow 0 --recipe.augment.st_elevation 0)
twice() {  # name, folds to learn from, folds to look at, further options of the second
    local name=$1 learn=$2 look=$3
    shift 3
    teach "$name" "$learn" "$look"
    tune "$name" "$name" "$learn" "$look" "${FROM[@]}" "${PLAIN[@]}"
    run finetune --run "runs/$name-2" --recipe.tasks "$TASKS" --resume --recipe.train_folds "$learn" \
        --recipe.watch_folds "$look" "${FROM[@]}" "$@" \
        --teachers "[\"runs/$name-teacher-1\",\"runs/$name-teacher-2\",\"runs/$name-teacher-3\",\"runs/$name\"]"
}

# Choose on folds 7 and 8; the other pairs of folds are for the calibration, which no model had learned.
twice choice '[1,2,3,4,5,6]' '[7,8]'
twice cv12 '[3,4,5,6,7,8]' '[1,2]'
twice cv34 '[1,2,5,6,7,8]' '[3,4]'
twice cv56 '[1,2,3,4,7,8]' '[5,6]'

# Refit on folds 1-8 by the same recipe.
twice final "$FINAL" '[]' --calibration '["runs/choice-2","runs/cv12-2","runs/cv34-2","runs/cv56-2"]'

# The decoder learns anew on the encoder as it is now; the diagnosis stays.
run decoder --run runs/rebuilt --init runs/final-2/checkpoint --resume
rm -rf checkpoints/small && cp -r runs/rebuilt/checkpoint checkpoints/small

# What other thresholds would call, told by the models of the calibration, and what the training records were like.
run operating --calibration '["runs/choice-2","runs/cv12-2","runs/cv34-2","runs/cv56-2"]' --write true

# Baselines on the same records, and the figures on fold 9.
AGAINST=(--recipe.tasks "$TASKS" --recipe.watch_folds '[]' --recipe.train_folds "$FINAL" --recipe.test_folds '[9]')
for seed in 0 1 2; do
    run baseline --run "runs/resnet-$seed" "${AGAINST[@]}" --recipe.epochs 8 --recipe.seed "$seed"
done
run baseline --run runs/random "${AGAINST[@]}" --recipe.kind random --recipe.weight_decay 0.01
tune scratch final "$FINAL" '[]'
run evaluate --write true --baselines '{"ResNet": ["runs/resnet-0", "runs/resnet-1", "runs/resnet-2"], "the same from scratch": "runs/scratch", "random frozen encoder": "runs/random"}'

# How far its explanations may be believed; two more seeds of training, whose maps are held against
# those of the first.
again() {  # name, seed
    run finetune --run "runs/$1" --recipe.tasks "$TASKS" --resume --recipe.train_folds '[1,2,3,4,5,6]' \
        --recipe.watch_folds '[7,8]' "${FROM[@]}" --recipe.seed "$2" \
        --teachers '["runs/choice-teacher-1","runs/choice-teacher-2","runs/choice-teacher-3","runs/choice"]'
}
again choice-2b 1
again choice-2c 2
run faithfulness --folds '[9]' --seeds '["runs/choice-2","runs/choice-2b","runs/choice-2c"]' --write true
.venv/bin/python -m tests.golden.make
