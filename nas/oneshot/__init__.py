"""One-shot search: one network in which all candidates share their weights, and what it says about them."""
