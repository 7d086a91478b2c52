"""Workers: claim or propose a trial, evaluate it, record it."""
