"""Training: `python -m clear_hug.train {prepare,pretrain,finetune,decoder,baseline,evaluate}`."""
