"""Training: the recipe, the loop, the checkpoint."""
