"""Pictures for reports and slides: pure functions of plain data, each as SVG and as PNG. No torch, no store."""

from nas.result.figures.architecture import cells
from nas.result.figures.curves import curves, incumbents
from nas.result.figures.data import Curve, Curves, Incumbents, Point, Points
from nas.result.figures.drawing import Drawing
from nas.result.figures.look import Look
from nas.result.figures.pareto import pareto
from nas.result.figures.themes import DARK, LIGHT, THEMES, Theme
from nas.result.figures.verdict import is_whole, sentence, verdict

__all__ = [
    "DARK",
    "LIGHT",
    "THEMES",
    "Curve",
    "Curves",
    "Drawing",
    "Incumbents",
    "Look",
    "Point",
    "Points",
    "Theme",
    "cells",
    "curves",
    "incumbents",
    "is_whole",
    "pareto",
    "sentence",
    "verdict",
]
