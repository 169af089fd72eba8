"""The style sheet of the report: light and dark, wide and narrow, screen and paper."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root{--text:#1f2328;--soft:#59636e;--line:#d1d9e0;--grid:#e4e8ec;--page:#fff;--bad:#c4121f;
--good:#1a7f37;--c0:#1f6feb;--c1:#b35900;--mark:#8250df}
@media (prefers-color-scheme:dark){:root{--text:#e6edf3;--soft:#9da7b1;--line:#3d444d;
--grid:#262c36;--page:#0d1117;--bad:#ff7b72;--good:#3fb950;--c0:#58a6ff;--c1:#f0a04b;
--mark:#bc8cff}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--text);background:var(--page);margin:0}
main{max-width:1000px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0 0 .2rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2rem 0 .4rem}
.sub,.unit,dt{color:var(--soft)}.sub{margin:.2rem 0;font-size:.9rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(12rem,1fr));gap:.8rem;
margin:1.2rem 0}
.card{border:1px solid var(--line);border-radius:8px;padding:.6rem 1rem;display:flex;
flex-direction:column-reverse;justify-content:flex-end}
dd{font-weight:600;font-size:1.3rem;margin:0}dt{font-size:.85rem;line-height:1.3}
figure{margin:1.4rem 0;break-inside:avoid}figcaption{margin-bottom:.2rem}
.key{margin-left:1.2rem;font-size:.85rem;white-space:nowrap}
.key svg{display:inline-block;width:1.7rem;height:.65rem;margin-right:.35rem}
figure>svg{display:block;width:100%;height:auto;overflow:visible}
text{font:12px system-ui,sans-serif;fill:var(--soft)}.x{text-anchor:middle}.y{text-anchor:end}
.grid{stroke:var(--grid);stroke-width:1;fill:none}
.line{fill:none;stroke-width:1.6;vector-effect:non-scaling-stroke}.area{stroke:none;opacity:.16}
.line.c0{stroke:var(--c0)}.line.c1{stroke:var(--c1)}.area.c0{fill:var(--c0)}.area.c1{fill:var(--c1)}
.dashed{stroke-dasharray:6 4}
.mark path{stroke:var(--mark);stroke-width:1;stroke-dasharray:2 3;vector-effect:non-scaling-stroke}
.mark text{fill:var(--mark);text-anchor:middle}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--grid);vertical-align:top}
td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.bad{color:var(--bad)}.good{color:var(--good)}
@media (max-width:700px){text{font-size:24px}.mark text{font-size:20px}
.cards{grid-template-columns:repeat(auto-fit,minmax(9rem,1fr))}.key{display:block;margin-left:0}}
@media print{main{max-width:none}.wide{overflow:visible}}
"""
