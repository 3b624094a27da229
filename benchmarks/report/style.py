"""The style of a benchmark's page: light and dark, wide and narrow, no font from elsewhere."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #f7f8f7; --card: #ffffff; --ink: #1b2427; --muted: #59666b; --rule: #dce2e1;
  --accent: #0b6e8a; --warn: #a24a00; --bad: #b3261e; --good: #1a7346; --shade: 11, 110, 138;
  --c0: #0072b2; --c1: #d55e00; --c2: #00876a; --c3: #b25f94; --c4: #b07d00; --c5: #4a7f9c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12171a; --card: #1a2125; --ink: #e4eaeb; --muted: #9dabb0; --rule: #313c41;
    --accent: #6cc4dc; --warn: #f0a35e; --bad: #ff8a80; --good: #6fd3a0; --shade: 108, 196, 220;
    --c0: #62b5ec; --c1: #ff9152; --c2: #45d1ab; --c3: #e4a0c6; --c4: #edb948; --c5: #9dbdd0;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 1180px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1rem; font-weight: 600; color: var(--accent); margin: 0 0 .75rem; }
h2 { font-size: 1.35rem; font-weight: 600; margin: 3.25rem 0 .9rem; line-height: 1.25; }
h3 { font-size: 1rem; font-weight: 600; margin: 0 0 .6rem; }
p { margin: .6rem 0; max-width: 46rem; }
a { color: var(--accent); }
h1, p, li, dd, code, figcaption { overflow-wrap: anywhere; }
.verdict { font-size: 1.5rem; line-height: 1.38; margin: 0; max-width: 52rem; }
.note { color: var(--muted); font-size: .9rem; }
nav { margin-top: 1.5rem; font-size: .92rem; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: .9rem;
  margin-top: 1.75rem;
}
.tile, .card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.tile { padding: .9rem 1.1rem; }
.tile strong { display: block; font-size: 1.9rem; font-weight: 600; line-height: 1.2; }
.tile span { display: block; color: var(--muted); font-size: .88rem; line-height: 1.35; }
.cautions {
  list-style: none; margin: 1.4rem 0 0; padding: .7rem 1.1rem; border-left: 3px solid var(--warn);
  background: var(--card); border-radius: 0 8px 8px 0; font-size: .95rem;
}
.cautions li + li { margin-top: .35rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); }
.grid.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); }
.tall { grid-row: span 2; }
.grid { gap: 1rem; align-items: start; margin: 1rem 0; }
.card { margin: 0; padding: 1rem 1.1rem; min-width: 0; }
.card svg { display: block; width: 100%; max-width: 520px; height: auto; margin: 0 auto; }
svg * { stroke-linejoin: round; }
svg text { font-family: inherit; }
figcaption { font-size: .92rem; color: var(--muted); margin-top: .6rem; }
.card h3 + figcaption { margin: -.35rem 0 .6rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; line-height: 1.35; }
th, td { text-align: left; padding: .5rem .7rem .5rem 0; vertical-align: top; }
thead th {
  color: var(--muted); font-weight: 500; font-size: .84rem; vertical-align: bottom;
  border-bottom: 1px solid var(--rule);
}
tbody tr + tr > * { border-top: 1px solid var(--rule); }
tbody th { font-weight: 600; min-width: 7.5rem; }
td { font-variant-numeric: tabular-nums; }
small { display: block; color: var(--muted); font-size: .84em; font-weight: 400; }
td small { white-space: nowrap; }
.confusion td small { color: inherit; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
.confusion { width: auto; max-width: 100%; margin: 0 auto; font-size: .88rem; }
.confusion td {
  width: 4.8rem; height: 3.1rem; text-align: center; vertical-align: middle; padding: .2rem;
  border: 2px solid var(--card); background: rgba(var(--shade), var(--a)); border-radius: 8px;
}
.confusion th { font-weight: 400; font-size: .84rem; border: 0; padding: .2rem .5rem .2rem 0; }
.confusion tbody th { min-width: 0; vertical-align: middle; text-align: right; }
.confusion thead th { border: 0; text-align: center; padding: .2rem; }
.confusion tbody tr + tr > * { border-top-color: var(--card); }
.radiograph { display: grid; grid-template-columns: repeat(3, 1fr); gap: .2rem .8rem; }
.radiograph h3 { grid-column: 1 / -1; margin: 0; }
.radiograph figure { margin: 0; }
.radiograph img { display: block; width: 100%; height: auto; border-radius: 6px; }
.radiograph figcaption { font-size: .84rem; line-height: 1.3; margin-top: .35rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.5rem; margin: 0; }
dt { color: var(--muted); }
dd { margin: 0; }
pre { margin: 0 0 1rem; padding: .9rem 1.1rem; white-space: pre-wrap; font-size: .9rem; }
.plain { padding-left: 1.1rem; max-width: 52rem; }
footer { margin-top: 3rem; color: var(--muted); font-size: .84rem; overflow-wrap: anywhere; }
@media (max-width: 860px) {
  main { padding: 1.5rem 1rem 3rem; }
  .verdict { font-size: 1.2rem; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .tile { padding: .75rem .9rem; }
  .tile strong { font-size: 1.5rem; }
  .card { padding: .8rem .75rem; }
  .wide thead { display: none; }
  .wide, .wide tbody { display: block; }
  .wide tr {
    display: grid; grid-template-columns: repeat(3, 1fr); gap: .55rem .8rem; padding: .8rem 0;
  }
  .wide tr + tr { border-top: 1px solid var(--rule); }
  .wide th, .wide td {
    padding: 0; border: 0 !important; min-width: 0; overflow-wrap: anywhere;
  }
  .wide td { font-size: .88rem; }
  .wide tbody th { grid-column: 1 / -1; }
  .wide td::before {
    content: attr(data-of); display: block; color: var(--muted); font-size: .8rem;
  }
  .wide td.long { grid-column: 1 / -1; }
  .wide td.none { display: none; }
  table:not(.wide, .confusion) tbody th { min-width: 0; }
  table:not(.wide, .confusion) td.long { overflow-wrap: anywhere; }
  table:not(.wide, .confusion) { font-size: .84rem; }
  table:not(.wide, .confusion) :is(th, td) { padding-right: .45rem; }
  .confusion td { width: 3.4rem; height: 2.9rem; }
  .confusion { font-size: .8rem; }
  .radiograph { grid-template-columns: 1fr 1fr; }
  .radiograph h3 { grid-column: auto; align-self: center; }
  .tall { grid-row: auto; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .6rem; }
}
@media print { .card, .tile, tr { break-inside: avoid; } nav { display: none; } }
"""
