/** A report in words: the verdict, the counts, what is wrong, whom the numbers still trust. */
import type { Fault } from "../../audit/fault.ts";
import type { AuditReport, QuotaStanding } from "../../audit/report.ts";
import type { SampleReport } from "../../audit/sample.ts";
import type { Trust } from "../../audit/trust.ts";
import { fromUtf8, utf8, type Bytes } from "../../protocol/bytes.ts";
import { parseDay } from "../../protocol/text.ts";
import { download, h, type Child } from "../ui/dom.ts";
import type { Words } from "../ui/words.ts";
import { batchPlot, countPlot } from "./plots.ts";

const MAX_FAULTS = 200; // shown; the file has all

/** Everything that is shown of a whole recount; before: the signed checkpoint of an earlier one. */
export function wholeVerdict(report: AuditReport, words: Words, language: string, before?: Bytes): Child[] {
  const title = (scope: string): string => report.titles[scope]?.[language] ?? report.scopes[scope]?.title ?? scope;
  const scopes = Object.entries(report.scopes);
  return [
    h(
      "p",
      { class: report.ok ? "verdict good" : "verdict bad", role: "status" },
      report.ok ? words.t("audit.consistent") : words.t("audit.faulty", { n: report.faults.length + report.faultsOmitted }),
    ),
    h("p", { class: "note" }, report.origin, ": ", words.t("audit.progress", { done: report.size, total: report.size })),
    report.faults.length > 0 && faults(report.faults, words),
    scopes.length > 0 && h("h2", {}, words.t("audit.counts")),
    scopes.length > 0 && counts(report, words, title),
    ...scopes.flatMap(([scope, count]) => {
      const plot = countPlot(report, scope, count.threshold, ({ first, last }) =>
        words.t("audit.plot_alt", { first: words.day(first), last: words.day(last), count: count.count }),
      );
      if (plot === undefined) return [];
      return [
        h("h3", {}, words.t("audit.plot"), ": ", h("span", { dir: "auto" }, title(scope))),
        h("div", { class: "plot-frame" }, plot.drawing),
        h("p", { class: "note" }, words.t("audit.plot_alt", { first: words.day(plot.first), last: words.day(plot.last), count: count.count })),
      ];
    }),
    ...batches(report, words),
    h("h2", {}, words.t("audit.trust")),
    h("ul", {}, ...report.trusts.map((trust) => h("li", {}, trustText(translated(trust, report, language), words)))),
    h("p", { class: "actions" }, saver(report, words), before && evidence(before, report, words)),
    h("p", { class: "hex" }, [...report.root].map((byte) => byte.toString(16).padStart(2, "0")).join("")),
  ];
}

/** What is shown of a sample, which proves less and says so. */
export function sampleVerdict(report: SampleReport, words: Words, language: string): Child[] {
  const inAll = [...report.scopes.values()].reduce((sum, scope) => sum + scope.gross, 0);
  const rows = [...report.scopes.values()].map(({ view, gross, live }) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", dir: "auto" }, view.manifest.title[language] ?? view.manifest.title[view.manifest.language] ?? ""),
      h("td", { class: "number" }, words.number(gross)),
      h("td", { class: "number" }, words.number(live)),
    ),
  );
  return [
    h(
      "p",
      { class: report.invalid ? "verdict bad" : "verdict", role: "status" },
      report.invalid
        ? words.t("audit.faulty", { n: report.invalid })
        : words.t("audit.sampled", { done: report.pledges, total: inAll }),
    ),
    h(
      "div",
      { class: "wide", tabindex: "0", role: "group", "aria-label": words.t("audit.counts") },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h("tr", {}, head("audit.scope", words), head("audit.pledges", words, true), head("audit.live", words, true)),
        ),
        h("tbody", {}, ...rows),
      ),
    ),
  ];
}

function counts(report: AuditReport, words: Words, title: (scope: string) => string): HTMLElement {
  const rows = Object.entries(report.scopes).map(([scope, count]) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", dir: "auto" }, title(scope)),
      h("td", { class: "number" }, words.number(count.gross)),
      h("td", { class: "number" }, words.number(count.count)),
      h(
        "td",
        {},
        `${words.number(count.threshold)}, `,
        count.reached
          ? words.t("audit.reached", { batch: count.reached.batch })
          : words.t("audit.not_reached"),
        count.reached ? ` (${words.day(parseDay(count.reached.day))})` : "",
        count.quotas !== undefined && h("p", { class: "note" }, quotaText(count.quotas, words)),
      ),
    ),
  );
  return h(
    "div",
    { class: "wide", tabindex: "0", role: "group", "aria-label": words.t("audit.counts") },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          head("audit.scope", words),
          head("audit.pledges", words, true),
          head("audit.live", words, true),
          head("audit.threshold", words),
        ),
      ),
      h("tbody", {}, ...rows),
    ),
  );
}

function quotaText({ each, options, enough }: QuotaStanding, words: Words): string {
  return words.t("quotas.standing", { n: enough, each, options });
}

function head(key: Parameters<Words["t"]>[0], words: Words, isNumber = false): HTMLElement {
  return h("th", { scope: "col", class: isNumber ? "number" : "" }, words.t(key));
}

function faults(found: readonly Fault[], words: Words): HTMLElement {
  const place = ({ batch, index, offset }: Fault): string =>
    [batch === undefined ? "" : `batch ${batch}`, index === undefined ? "" : `#${index}`, offset === undefined ? "" : `+${offset}`]
      .filter(Boolean)
      .join(", ");
  const rows = found
    .slice(0, MAX_FAULTS)
    .map((fault) =>
      h(
        "tr",
        {},
        h("td", {}, h("code", {}, fault.code)),
        h("td", { lang: "en", dir: "ltr" }, place(fault)),
        h("td", { lang: "en", dir: "ltr" }, fault.detail),
      ),
    );
  return h(
    "div",
    { class: "wide", tabindex: "0", role: "group", "aria-label": words.t("audit.faults") },
    h("h2", {}, words.t("audit.faults")),
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h("tr", {}, head("audit.fault_code", words), head("audit.fault_where", words), head("audit.fault_what", words)),
      ),
      h("tbody", {}, ...rows),
    ),
  );
}

function batches(report: AuditReport, words: Words): Child[] {
  const text = (plot: { number: number; least: number; most: number }): string =>
    words.t("audit.batches_alt", { n: plot.number, least: plot.least, most: plot.most });
  const plot = batchPlot(report, text);
  if (plot === undefined) return [];
  return [
    h("h2", {}, words.t("audit.batches")),
    h("div", { class: "plot-frame" }, plot.drawing),
    h("p", { class: "note" }, text(plot)),
  ];
}

/** The same with the title in the reader's language, where the terms have it. */
function translated(trust: Trust, report: AuditReport, language: string): Trust {
  if (!("title" in trust)) return trust;
  const [scope] = Object.entries(report.scopes).find(([, count]) => count.title === trust.title) ?? [""];
  return { ...trust, title: report.titles[scope]?.[language] ?? trust.title };
}

function trustText(trust: Trust, words: Words): string {
  const names: Record<string, string> = {};
  for (const [name, value] of Object.entries(trust)) {
    names[name] = Array.isArray(value) ? value.join(", ") : String(value);
  }
  return words.t(`trust.${trust.kind}`, names);
}

/** The two signed checkpoints of a ledger that contradicts itself, as the command line saves them. */
function evidence(before: Bytes, { origin, checkpoint, faults }: AuditReport, words: Words): Child {
  const found = faults.find(({ code }) => code === "forked-ledger" || code === "rolled-back-ledger");
  if (found === undefined) return null;
  const says = `${origin}: ${found.detail}`;
  const value = { headcount_evidence: 1, says, evidence: [before, checkpoint].map((raw) => ({ text: fromUtf8(raw) })) };
  const button = h("button", { type: "button" }, words.t("audit.evidence"));
  button.addEventListener("click", () =>
    download("headcount-evidence.json", utf8(`${JSON.stringify(value, null, 2)}\n`), "application/json"),
  );
  return button;
}

function saver(report: AuditReport, words: Words): HTMLElement {
  const button = h("button", { type: "button" }, words.t("audit.save"));
  button.addEventListener("click", () =>
    download("headcount-audit.json", utf8(`${JSON.stringify(report, null, 1)}\n`), "application/json"),
  );
  return button;
}
