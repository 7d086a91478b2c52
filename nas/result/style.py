"""The style sheet of report.html: light and dark, from a phone to a large screen, and on paper."""

from typing import Final

SHEET: Final = """
:root { --ground: #f6f7f9; --raised: #eef1f5; color-scheme: light dark; }
@media screen and (prefers-color-scheme: dark) { :root { --ground: #0f141b; --raised: #202a37; } }
* { box-sizing: border-box; }
html { background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto, Helvetica, Arial,
  sans-serif; -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 1160px; padding: 24px 16px 64px; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 12px; }
h3 { font-size: 1rem; margin: 20px 0 8px; }
p { margin: 0 0 12px; max-width: 75ch; }
.under { color: var(--muted); margin-bottom: 24px; overflow-wrap: anywhere; }
.lead { font-size: 1.15rem; font-weight: 600; max-width: 60ch; }
main { display: grid; gap: 16px; grid-template-columns: minmax(0, 1fr); }
section { background: var(--surface); border: 1px solid var(--line); border-radius: 10px; min-width: 0; padding: 20px; }
@media (min-width: 900px) {
  main { grid-auto-flow: dense; grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .beside { align-items: center; display: grid; gap: 24px; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); }
  .full { grid-column: 1 / -1; }
}
figure { margin: 0 0 12px; }
figure svg { display: block; height: auto; max-width: 100%; width: 100%; }
.picture { max-width: 600px; }
.cells svg { margin: 0 auto; min-width: 560px; width: auto; }
figcaption { color: var(--muted); font-size: 0.9rem; }
.wide, .cells { overflow-x: auto; }
.wide:focus-visible, .cells:focus-visible, summary:focus-visible, pre:focus-visible
  { outline: 3px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; width: 100%; }
caption { color: var(--muted); font-size: 0.9rem; padding-bottom: 6px; text-align: left; }
th, td { border-bottom: 1px solid var(--line); padding: 6px 10px 6px 0; text-align: right; vertical-align: top; }
th:first-child { text-align: left; }
td { white-space: nowrap; }
tbody th { font-weight: 500; min-width: 5em; overflow-wrap: anywhere; }
.wide + .wide { margin-top: 20px; }
table:has(.heat) th { min-width: 2em; }
table:has(.heat) thead th { text-align: center; }
td.heat { background: color-mix(in srgb, var(--accent) calc(var(--share) * 42%), transparent); padding: 4px 6px;
  text-align: center; }
dl { display: grid; gap: 8px 24px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 210px), 1fr));
  margin: 0 0 12px; }
dl div { min-width: 0; }
dt { color: var(--muted); font-size: 0.88rem; }
dd { margin: 0; overflow-wrap: anywhere; }
pre, code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 0.86rem; }
pre { background: var(--raised); border-radius: 8px; margin: 0 0 12px; overflow-x: auto; padding: 12px; }
code { overflow-wrap: anywhere; }
pre code { overflow-wrap: normal; }
summary { cursor: pointer; min-height: 38px; padding: 8px 0; }
ul { margin: 0 0 12px; padding-left: 20px; }
.notice { border-left: 4px solid var(--accent); padding-left: 12px; }
@media (min-width: 2200px) { html { font-size: 20px; } body { max-width: 1480px; } }
@media (max-width: 480px) { body { padding: 16px 10px 40px; } section { padding: 14px; } }
@media print {
  html { background: #fff; font-size: 11pt; }
  body { max-width: none; padding: 0; }
  main { display: block; }
  section { border: 0; break-inside: avoid-page; padding: 0 0 14px; }
  .wide, .cells, pre { overflow: visible; }
  pre { white-space: pre-wrap; }
  details::details-content { content-visibility: visible; }
}
"""
"""Its other colours are those of the pictures, which stand before it."""
