"""Training on a source task, for later transfer."""
