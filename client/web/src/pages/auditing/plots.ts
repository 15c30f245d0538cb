/** Two drawings of a report: the count of a scope over time, and how many pledges each batch holds. */
import type { AuditReport, BatchRow } from "../../audit/report.ts";
import { svg } from "../ui/dom.ts";

const WIDTH = 640;
const HEIGHT = 240;
const MARGIN = 8;

export interface CountPlot {
  readonly drawing: SVGElement;
  readonly first: number; // days
  readonly last: number;
}

/** The live count of a scope after each batch that changed it; undefined where there is none. */
export function countPlot(report: AuditReport, scope: string, threshold: number, label: (plot: CountPlot) => string): CountPlot | undefined {
  const points = report.rows
    .filter((row) => row.live[scope] !== undefined)
    .map((row) => ({ row, live: row.live[scope]! }));
  if (!points.length) return undefined;
  const first = report.rows[0]!;
  const last = report.rows.at(-1)!;
  const most = Math.max(threshold, ...points.map(({ live }) => live));
  const place = scale(first, last);
  const height = (live: number): number => HEIGHT - MARGIN - (live / most) * (HEIGHT - 2 * MARGIN);
  let path = `M${place(first)} ${height(0)}`;
  for (const { row, live } of points) path += `H${place(row)}V${height(live)}`;
  path += `H${WIDTH - MARGIN}`;
  const line = height(threshold);
  const plot = { first: first.day, last: last.day };
  const drawing = frame([
    svg("path", { class: "plot-area", d: `${path}V${height(0)}Z` }),
    svg("path", { class: "plot-axis", d: `M${MARGIN} ${height(0)}H${WIDTH - MARGIN}` }),
    svg("path", { class: "plot-threshold", d: `M${MARGIN} ${line}H${WIDTH - MARGIN}` }),
    svg("path", { class: "plot-line", d: path }),
  ]);
  const whole = { ...plot, drawing };
  drawing.setAttribute("aria-label", label(whole));
  return whole;
}

export interface BatchPlot {
  readonly drawing: SVGElement;
  readonly least: number;
  readonly most: number;
  readonly number: number;
}

const BARS = 160; // more batches than that are drawn by the smallest of each group: what hides worst is what counts

/** How many pledges each batch holds, where it holds any. */
export function batchPlot(report: AuditReport, label: (plot: BatchPlot) => string): BatchPlot | undefined {
  const sizes = report.rows.map(sizeOf).filter((size) => size > 0);
  if (!sizes.length) return undefined;
  const group = Math.ceil(sizes.length / BARS);
  const bars = Array.from({ length: Math.ceil(sizes.length / group) }, (_, i) =>
    Math.min(...sizes.slice(i * group, (i + 1) * group)),
  );
  const most = Math.max(...bars);
  const width = (WIDTH - 2 * MARGIN) / Math.max(bars.length, 12);
  const path = bars
    .map((size, i) => {
      const high = Math.max(2, (size / most) * (HEIGHT / 2 - 2 * MARGIN));
      return `M${MARGIN + i * width} ${HEIGHT / 2 - MARGIN}v${-high}h${width * 0.72}v${high}z`;
    })
    .join("");
  const drawing = frame([svg("path", { class: "plot-bar", d: path })], HEIGHT / 2);
  const plot = { drawing, least: Math.min(...sizes), most: Math.max(...sizes), number: report.rows.length };
  drawing.setAttribute("aria-label", label(plot));
  return plot;
}

function sizeOf(row: BatchRow): number {
  return Object.values(row.pledges).reduce((sum, n) => sum + n, 0);
}

/** By day where the batches span several, else by their order. */
function scale(first: BatchRow, last: BatchRow): (row: BatchRow) => number {
  const byDay = last.day > first.day;
  const of = (row: BatchRow): number => (byDay ? row.day + row.number / (last.number + 1) : row.number);
  const [low, span] = [of(first), Math.max(of(last) - of(first), 1e-9)];
  return (row) => MARGIN + ((of(row) - low) / span) * (WIDTH - 2 * MARGIN);
}

function frame(parts: SVGElement[], height = HEIGHT): SVGElement {
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img" }, ...parts);
}
