"""Ray jobs: a worker drives a cluster, whose nodes carry the trials out."""
