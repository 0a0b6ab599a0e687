--- How the HTML report looks: on a desk, on a phone, on paper; light and dark. Every text stands out from what lies below
--- it by 4.5 to 1 at least.
return [[
:root{color-scheme:light dark;--page:#fff;--text:#1d2733;--dim:#555f6b;--line:#d5dbe3;--soft:#f4f6f9;
--good:#116639;--bad:#a8231b;--warn:#7a4f00;--link:#0b57a4;
--bar-good:#bfe3cf;--bar-bad:#f6c1bb;--bar-back:#f3dfae;--bar-wait:#d8dee6;--bar-phase:#dce6f4}
@media (prefers-color-scheme:dark){:root{--page:#14181d;--text:#e7eaef;--dim:#a6b1bd;--line:#353d47;--soft:#1e242b;
--good:#6fd79b;--bad:#ff9d94;--warn:#f0c56a;--link:#8fc3ff;
--bar-good:#1d5137;--bar-bad:#7a2a24;--bar-back:#5d4712;--bar-wait:#3a424d;--bar-phase:#27405f}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,"DejaVu Sans",sans-serif;margin:0 auto;max-width:66em;padding:1.5em 1em 4em;
color:var(--text);background:var(--page);overflow-wrap:anywhere}
h1{font-size:1.5em;line-height:1.25;margin:0 0 .2em}
h2{font-size:1.2em;margin:2em 0 .5em;padding-bottom:.2em;border-bottom:1px solid var(--line)}
h3{font-size:1em;margin:1.4em 0 .3em}
p{margin:.4em 0}
a{color:var(--link)}
.dim{color:var(--dim)}.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
.bad,.warn,.good{font-weight:600}
code,pre{font:13px/1.45 ui-monospace,"DejaVu Sans Mono",monospace}
pre{background:var(--soft);padding:.6em .8em;margin:.4em 0;overflow-x:auto;white-space:pre-wrap}
.add{color:var(--good)}.del{color:var(--bad)}.at{color:var(--dim)}
.verdict{border-left:.5em solid var(--dim);background:var(--soft);padding:.8em 1em;margin:1em 0}
.verdict.is-good{border-color:var(--good)}.verdict.is-bad{border-color:var(--bad)}
.verdict.is-waits,.verdict.is-back{border-color:var(--warn)}
.verdict h2{border:0;margin:0 0 .3em;padding:0}
.next code{display:inline-block;
border:1px solid var(--line);border-radius:4px;padding:.15em .5em;margin:.2em .4em .2em 0}
.prod{border:2px solid var(--bad);color:var(--bad);font-weight:700;padding:0 .4em;border-radius:4px;white-space:nowrap}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:.1em 1em;margin:.6em 0}
.facts dt{color:var(--dim)}.facts dd{margin:0}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3em .6em;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--dim);font-weight:600}
td.n{white-space:nowrap}
details{border:1px solid var(--line);border-radius:4px;margin:.3em 0;padding:0 .6em}
details[open]{padding-bottom:.5em}
summary{cursor:pointer;padding:.35em 0}
summary:focus-visible,a:focus-visible{outline:2px solid var(--link);outline-offset:2px}
td details{border:0;margin:0;padding:0}
td summary{padding:.1em 0;color:var(--link)}
.timeline{overflow-x:auto}
.timeline svg{min-width:46em;width:100%;height:auto;font:12px system-ui,"DejaVu Sans",sans-serif}
.timeline text{fill:var(--text)}.timeline .tick{fill:var(--dim)}
.timeline line{stroke:var(--line)}.timeline .end{stroke:var(--bad);stroke-width:1.5}
.b-good{fill:var(--bar-good)}.b-bad{fill:var(--bar-bad)}.b-back{fill:var(--bar-back)}
.b-wait{fill:var(--bar-wait)}.b-phase{fill:var(--bar-phase)}
@media (max-width:42em){
body{font-size:15px;padding:1em .7em 3em}
.facts{grid-template-columns:1fr}.facts dd{margin-bottom:.4em}
thead{display:none}tr,td{display:block}tr{border-bottom:1px solid var(--line);padding:.4em 0}td{border:0;padding:.1em 0}
td[data-l]::before{content:attr(data-l) ": ";color:var(--dim)}
}
@media print{
:root{color-scheme:light;--page:#fff;--text:#000;--dim:#444;--line:#bbb;--soft:#fff;--good:#0b5c31;--bad:#971c15;
--warn:#6b4500;--link:#000;
--bar-good:#bfe3cf;--bar-bad:#f6c1bb;--bar-back:#f3dfae;--bar-wait:#d8dee6;--bar-phase:#dce6f4}
body{font-size:10pt;max-width:none;padding:0}
details::details-content{content-visibility:visible;block-size:auto}
details>*{display:block}
details,tr,.verdict{break-inside:avoid}h2,h3{break-after:avoid}
.timeline svg{min-width:0}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
]]
