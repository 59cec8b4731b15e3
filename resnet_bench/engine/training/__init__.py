"""Training, fine-tuning and evaluating on resident tensors."""
