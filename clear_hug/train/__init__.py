"""Training: `python -m clear_hug.train {prepare,pretrain,finetune,average,baseline,evaluate}`."""
