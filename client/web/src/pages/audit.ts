/**
 * The audit page: a ledger, a mirror or a folder is recounted in workers of this browser. What was recounted is kept, so
 * that a reload or another day costs the new entries only; beyond a million entries it samples, and says so.
 */
import "../protocol/fallbacks.ts";
import { audit, type Snapshot } from "../audit/audit.ts";
import { openKeeper, type Keeper } from "../audit/keep.ts";
import { openScanner } from "../audit/pool.ts";
import { FULL_AUDIT_ENTRIES, sample } from "../audit/sample.ts";
import { utf8 } from "../protocol/bytes.ts";
import { parseCheckpoint } from "../protocol/checkpoint.ts";
import { Policy } from "../protocol/policy.ts";
import type { Fetch } from "../protocol/tile.ts";
import { directoryFetch, filesFetch, httpFetch } from "../reader/fetch.ts";
import { httpTransport } from "../reader/transport.ts";
import { sampleVerdict, wholeVerdict } from "./auditing/verdict.ts";
import { byId, data, h } from "./ui/dom.ts";
import { Panel, codeOf } from "./ui/panel.ts";
import { Words } from "./ui/words.ts";

interface Page {
  ledger: string; // relative to this origin or absolute; may be empty
  language: string;
}

type FolderPicker = () => Promise<FileSystemDirectoryHandle>;

const page = data<Page>("page");
const words = new Words(page.language);
const root = byId("app");
const panel = new Panel(root, words);
/** What stands in the form: what was typed stays there when something fails. */
const entered = { where: address(), policy: (byId("policy") as HTMLTextAreaElement).value };
const SHOW_MS = 200; // between two looks at the progress

/** Files to be recounted: where they are read from, and under what name their state is kept. */
interface Place {
  readonly name: string;
  readonly fetch: Fetch;
}

function ask(kept: Snapshot | undefined, keeper: Keeper): void {
  const where = h("input", { type: "url", id: "where", dir: "ltr", value: entered.where, autocomplete: "url" });
  const policy = h("textarea", { id: "policy-text", dir: "ltr", spellcheck: "false", "aria-describedby": "policy-note" });
  policy.value = entered.policy;
  const start = (place: Place, anew = false): Promise<void> => {
    Object.assign(entered, { where: where.value, policy: policy.value });
    return recount(place, Policy.fromBytes(utf8(entered.policy)), keeper, anew);
  };
  const begun = kept !== undefined && kept.tree.size > 0;
  const form = panel.form(
    () => start(online(where.value.trim())),
    h("label", { class: "field", for: "where" }, words.t("audit.where")),
    where,
    h(
      "details",
      {},
      h("summary", {}, words.t("audit.policy")),
      h("label", { class: "visually-hidden", for: "policy-text" }, words.t("audit.policy")),
      policy,
      h("p", { class: "note", id: "policy-note" }, words.t("audit.policy_note")),
    ),
    h(
      "p",
      { class: "actions" },
      h(
        "button",
        { class: "main-action" },
        begun ? words.t("audit.resume", { n: kept.tree.size }) : words.t("audit.start"),
      ),
      begun && panel.button(words.t("audit.anew"), () => start(online(where.value.trim()), true)),
      folder(start),
    ),
  );
  panel.show(null, form);
}

/** The way to a folder on this device: a picker where the browser has one, else a file input. */
function folder(start: (place: Place) => Promise<void>): HTMLElement {
  const picker = (window as { showDirectoryPicker?: FolderPicker }).showDirectoryPicker;
  if (picker !== undefined) {
    return panel.button(words.t("audit.folder_pick"), async () => {
      let handle: FileSystemDirectoryHandle;
      try {
        handle = await picker.call(window);
      } catch {
        return; // nothing was chosen
      }
      await start({ name: `folder ${handle.name}`, fetch: directoryFetch(handle) });
    });
  }
  const input = h("input", { type: "file", webkitdirectory: true, multiple: true, "aria-label": words.t("audit.folder_pick") });
  input.addEventListener("change", () => {
    const files = [...(input.files ?? [])];
    if (!files.length) return;
    const name = files[0]!.webkitRelativePath.split("/")[0] ?? "";
    void panel.once(null, () => start({ name: `folder ${name}`, fetch: filesFetch(files) }));
  });
  return h("span", { class: "button file" }, words.t("audit.folder_pick"), input);
}

function online(where: string): Place {
  return { name: where, fetch: httpFetch(where, httpTransport) };
}

async function recount(place: Place, policy: Policy, keeper: Keeper, anew: boolean): Promise<void> {
  const stop = new AbortController();
  const bar = h("progress", { class: "bar", "aria-label": words.t("audit.title") });
  const line = h("p", { class: "note" });
  panel.show(
    words.t("app.checking"),
    bar,
    line,
    h("p", { class: "actions" }, h("button", { type: "button", id: "stop" }, words.t("audit.stop"))),
  );
  byId("stop").addEventListener("click", () => stop.abort());
  const began = performance.now();
  let shown = 0;
  let from: number | undefined;
  const progress = (done: number, total: number): void => {
    from ??= done;
    const now = performance.now();
    if (now - shown < SHOW_MS && done < total) return;
    shown = now;
    bar.max = total;
    bar.value = done;
    const rate = ((done - from) / (now - began)) * 1000;
    const parts = [words.t("audit.progress", { done, total })];
    if (rate > 0) {
      parts.push(words.t("audit.rate", { rate: Math.round(rate) }));
      parts.push(words.t("audit.left", { n: Math.ceil((total - done) / rate) }));
    }
    line.textContent = parts.join(" · ");
  };
  const scanner = openScanner();
  try {
    const { size } = parseCheckpoint(await place.fetch("checkpoint")).checkpoint;
    if (size > FULL_AUDIT_ENTRIES) {
      const report = await sample(place.fetch, policy, { progress, signal: stop.signal });
      return panel.show(null, ...sampleVerdict(report, words, page.language));
    }
    const kept = await keeper.load(place.name);
    const report = await audit(place.fetch, policy, {
      scanner,
      progress,
      signal: stop.signal,
      anew,
      keep: (snapshot) => keeper.save(place.name, snapshot),
      ...(kept === undefined ? {} : { resume: kept, remembered: [parseCheckpoint(kept.checkpoint).checkpoint] }),
    });
    panel.show(null, ...wholeVerdict(report, words, page.language, kept?.checkpoint));
  } catch (error) {
    ask(await keeper.load(place.name), keeper);
    if (!stop.signal.aborted) panel.fail(codeOf(error));
  } finally {
    scanner.close();
  }
}

function address(): string {
  return page.ledger ? new URL(page.ledger, location.origin).href : "";
}

async function begin(): Promise<void> {
  const keeper = await openKeeper();
  ask(await keeper.load(address()), keeper);
}

void begin();
