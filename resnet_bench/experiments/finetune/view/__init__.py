"""What a person sees of `finetune`."""
