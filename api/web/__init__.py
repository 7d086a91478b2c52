"""The web dashboard: one shell, static modules without a build step, and nothing from other hosts."""
