"""The database and the artifact store: the one truth."""
