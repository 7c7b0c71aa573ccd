#!/usr/bin/env bash
# Trains what ships as checkpoints/small, from the data to the figures: some hours on two cores.
# CLEAR_HUG_DATA names the folder of the data sets. Choices are made on folds 7 and 8; fold 9 is for the
# figures. A run that was cut off goes on when this is started again.
set -euo pipefail
cd "$(dirname "$0")/.."
D=${CLEAR_HUG_DATA:?name the folder of the data sets}
run() { .venv/bin/python -m clear_hug.train "$@"; }
TASKS='["superdiagnostic","subdiagnostic","form","rhythm"]'
FINAL='[1,2,3,4,5,6,7,8]'

run prepare --sources "[\"$D/ptbxl\",\"$D/ptbxl_normalized\",\"$D/ludb\",\"$D/cinc2011\",\"$D/cinc2021\",\"$D/cinc2025_chagas\",\"$D/brugada_huca\"]"

# The encoder first learns to rebuild by itself, then the decoder learns to start from the regression over leads:
# four minutes on a GPU, more than an hour on two cores.
run pretrain --run runs/pretrain-alone --recipe.epochs 140 --recipe.batch_size 128 --recipe.lr 1.5e-3 \
    --recipe.regression false --resume
run pretrain --run runs/pretrain --init runs/pretrain-alone/checkpoint --recipe.epochs 30 --recipe.batch_size 128 \
    --recipe.lr 3e-4 --recipe.warm_up 1 --resume

# A forest over measured waves that learned from some folds speaks of the records without labels, and CLEAR-HUG
# learns from those folds and from what it says.
teach() {  # name, folds to learn from, folds to look at
    run baseline --run "runs/$1-teacher" --recipe.kind forest --recipe.tasks "$TASKS" --recipe.watch_folds '[]' \
        --recipe.teach true --recipe.train_folds "$2" --recipe.test_folds "$3"
}
tune() {  # name, whose teacher, folds to learn from, folds to look at, further options
    local name=$1 of=$2 learn=$3 look=$4
    shift 4
    run finetune --run "runs/$name" --recipe.tasks "$TASKS" --resume --recipe.train_folds "$learn" \
        --recipe.watch_folds "$look" --teachers "[\"runs/$of-teacher\"]" "$@"
}
FROM=(--init runs/pretrain/checkpoint)
learn() {  # name, folds to learn from, folds to look at, further options
    teach "$1" "$2" "$3"
    tune "$1" "$1" "$2" "$3" "${FROM[@]}" "${@:4}"
}

# Choose on folds 7 and 8; the other pairs of folds are for the calibration, which no model had learned.
learn choice '[1,2,3,4,5,6]' '[7,8]'
learn cv12 '[3,4,5,6,7,8]' '[1,2]'
learn cv34 '[1,2,5,6,7,8]' '[3,4]'
learn cv56 '[1,2,3,4,7,8]' '[5,6]'

# The criteria of voltage and QTc, weighed in each by what the others say.
OTHERS='["runs/choice","runs/cv12","runs/cv34","runs/cv56"]'
run criteria --run runs/choice --others '["runs/cv12","runs/cv34","runs/cv56"]'
run criteria --run runs/cv12 --others '["runs/choice","runs/cv34","runs/cv56"]'
run criteria --run runs/cv34 --others '["runs/choice","runs/cv12","runs/cv56"]'
run criteria --run runs/cv56 --others '["runs/choice","runs/cv12","runs/cv34"]'

# Refit on folds 1-8 by the same recipe.
learn final "$FINAL" '[]' --calibration "$OTHERS"

# The decoder learns anew on the encoder as it is now; the diagnosis stays.
run decoder --run runs/rebuilt --init runs/final/checkpoint --resume
rm -rf checkpoints/small && cp -r runs/rebuilt/checkpoint checkpoints/small

# What other thresholds would call, told by the models of the calibration, and what the training records were like.
run operating --calibration "$OTHERS" --write true

# Baselines on the same records, and the figures on fold 9.
AGAINST=(--recipe.tasks "$TASKS" --recipe.watch_folds '[]' --recipe.train_folds "$FINAL" --recipe.test_folds '[9]')
for seed in 0 1 2; do
    run baseline --run "runs/resnet-$seed" "${AGAINST[@]}" --recipe.epochs 30 --recipe.seed "$seed"
done
run baseline --run runs/forest "${AGAINST[@]}" --recipe.kind forest
run baseline --run runs/random "${AGAINST[@]}" --recipe.kind random --recipe.weight_decay 0.01
tune scratch final "$FINAL" '[]' --calibration "$OTHERS"
run evaluate --write true --baselines '{"ResNet": ["runs/resnet-0", "runs/resnet-1", "runs/resnet-2"], "forest": "runs/forest", "the same from scratch": "runs/scratch", "random frozen encoder": "runs/random"}'

# How far its explanations may be believed; another seed of training, whose maps are held against those of the first.
tune choice-seed-2 choice '[1,2,3,4,5,6]' '[7,8]' "${FROM[@]}" --recipe.seed 2
run criteria --run runs/choice-seed-2 --others '["runs/cv12","runs/cv34","runs/cv56"]'
run faithfulness --folds '[9]' --seeds '["runs/choice","runs/choice-seed-2"]' --write true
.venv/bin/python -m tests.golden.make

# Plain ResNets beside each pair of folds; what they and ours answer to the folds they left out.
beside() {  # name, folds to learn from, folds to look at
    for seed in 0 1; do
        run baseline --run "runs/$1-resnet-$seed" --recipe.tasks "$TASKS" --recipe.epochs 30 \
            --recipe.watch_folds '[]' --recipe.seed "$seed" --recipe.train_folds "$2" --recipe.test_folds "$3"
    done
}
beside choice '[1,2,3,4,5,6]' '[7,8]'
beside cv12 '[3,4,5,6,7,8]' '[1,2]'
beside cv34 '[1,2,5,6,7,8]' '[3,4]'
beside cv56 '[1,2,3,4,7,8]' '[5,6]'
.venv/bin/python -m benchmarks.out_of_fold --runs_of runs --write true

# Decoders that left out their folds, for `python -m benchmarks.rebuilding --checkpoints
# '["runs/choice-decoder/checkpoint","runs/cv12-decoder/checkpoint", ...]'`.
rebuild() {  # name, folds to leave out beside 9 and 10
    run decoder --run "runs/$1-decoder" --init "runs/$1/checkpoint" --recipe.leave_out_folds "[$2,9,10]" --resume
}
rebuild choice 7,8
rebuild cv12 1,2
rebuild cv34 3,4
rebuild cv56 5,6
