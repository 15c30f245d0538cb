/**
 * The issuer's own page: a person proves to be one, and goes back to the signing page with a session.
 *
 * The session is worth one blind signature for a message that is made elsewhere and never seen here. It travels behind
 * the `#` of the address, to an origin that the terms name. `state` goes back as it came: the signing page takes no
 * session that it did not ask for.
 */
import type { Json } from "../protocol/jcs.ts";
import { solveWork } from "../protocol/work.ts";
import { atRest, byId, data, h } from "./ui/dom.ts";
import { fragment, withFragment } from "./ui/fragment.ts";
import { Panel } from "./ui/panel.ts";
import { Words } from "./ui/words.ts";

interface Page {
  scope: string; // hex
  issuer: string; // its name
  language: string;
  attesters: string[]; // of this issuer in this scope
  returning: string[]; // ways to be recognised by who was checked here before
  sites: string[]; // origins that may send people here
}

interface Answer {
  state: "pending" | "partial" | "proved";
  session?: string;
  page?: string; // of the issuer, where this proof is made
  wanted?: string[]; // other proofs
  work?: Json; // what is to be solved first
}

const RETURN_PATH = /^\/(?:[A-Za-z0-9._~-]+\/)*[A-Za-z0-9._~-]*$/; // as the issuer takes it
const KEPT = "headcount-check"; // in sessionStorage: the session and which proofs it has, nothing about the person
const WORK_MS = 5 * 60_000; // in which work is used; an issuer takes it for ten minutes
const NEW_EACH_TIME = ["in-person"]; // proofs that nobody comes back with

class Refusal extends Error {
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

const page = data<Page>("page");
const words = new Words(page.language);
const panel = new Panel(byId("app"), words);
const sent = fragment();
const site = sent.get("site") ?? "";
const returnPath = sent.get("return") ?? "";
let bearer = "";
let ahead: { work: Promise<Record<string, string> | undefined>; until: number } | undefined;
let given: string[] = []; // kinds of proofs, in the order in which they were begun

function begin(): void {
  if (!site || !RETURN_PATH.test(returnPath)) return misplaced("check.direct");
  if (!page.sites.includes(site)) return misplaced("check.site_wrong");
  byId("asked").textContent = words.t("check.lead", { site: nameOf(site) });
  // In another language the same envelope is asked for.
  for (const tongue of document.querySelectorAll<HTMLAnchorElement>(".tongues a")) tongue.hash = location.hash;
  const code = sent.get("code");
  if (code !== undefined) [bearer, ...given] = recall(); // else it is another story's
  if (code !== undefined && bearer) {
    panel.wait(words.t("check.signing"));
    return void panel.once(null, () => confirm(code));
  }
  choose([...page.attesters, ...page.returning]);
}

function misplaced(key: "check.direct" | "check.site_wrong"): void {
  const links = page.sites.map((origin) =>
    h("li", {}, h("a", { href: `${origin}/sign/${page.scope}/${page.language}` }, nameOf(origin))),
  );
  panel.show(null, h("p", {}, words.t(key)), h("ul", {}, ...links));
}

function choose(kinds: string[]): void {
  const [only] = kinds;
  if (kinds.length === 1 && only !== undefined) return ask(only);
  const buttons = kinds.map((kind) => h("li", {}, panel.button(choice(kind), () => ask(kind))));
  panel.show(words.t("check.how"), h("ul", { class: "pledges" }, ...buttons), way());
}

function ask(kind: string, more = false): void {
  if (kind === "email") return askAddress(more);
  if (kind === "in-person") return askSlip(more);
  const go = panel.button(words.t("check.page"), () => start(kind, {}, more), "main-action");
  panel.show(how(kind), h("p", {}, words.t("check.page_note")), h("p", { class: "actions" }, go), way());
}

function askAddress(more: boolean): void {
  const field = h("input", {
    type: "email",
    id: "address",
    autocomplete: "email",
    "aria-describedby": "address-note",
    dir: "ltr",
    required: true,
  });
  field.addEventListener("input", solveAhead);
  const form = panel.form(
    async () => {
      const address = field.value.trim();
      if (!/^\S+@\S+$/.test(address)) throw new Refusal("malformed");
      await start("email", { address, language: page.language, ...(await solved()) }, more);
      askCode(address, more);
    },
    h("label", { class: "field", for: "address" }, words.t("check.address")),
    field,
    h("p", { class: "note", id: "address-note" }, words.t("check.address_note")),
    h("p", { class: "actions" }, h("button", { class: "main-action" }, words.t("check.send")), way()),
  );
  panel.show(null, form);
  // Taking the focus costs a slow telephone as much as showing the field, which goes first.
  const before = document.activeElement;
  atRest(() => document.activeElement === before && field.focus({ preventScroll: true }));
}

function askCode(address: string, more: boolean): void {
  const field = h("input", {
    type: "text",
    class: "code",
    id: "code",
    inputmode: "numeric",
    autocomplete: "one-time-code",
    "aria-describedby": "code-note",
    dir: "ltr",
    maxlength: "20",
  });
  const form = panel.form(
    () => confirm(latin(field.value)),
    h("label", { class: "field", for: "code" }, words.t("check.code")),
    field,
    h("p", { class: "note", id: "code-note" }, words.t("check.code_note")),
    h(
      "p",
      { class: "actions" },
      h("button", { class: "main-action" }, words.t("check.confirm")),
      panel.button(words.t("check.other_address"), () => askAddress(more), "plain"),
    ),
  );
  panel.show(null, h("p", { role: "status" }, words.t("check.sent", { address })), form);
  field.focus({ preventScroll: true });
}

function askSlip(more: boolean): void {
  const field = h("input", {
    type: "text",
    class: "code",
    id: "slip",
    autocomplete: "off",
    autocapitalize: "characters",
    spellcheck: "false",
    "aria-describedby": "slip-note",
    dir: "ltr",
    maxlength: "40",
  });
  const form = panel.form(
    () => start("in-person", { code: latin(field.value) }, more),
    h("label", { class: "field", for: "slip" }, words.t("check.slip")),
    field,
    h("p", { class: "note", id: "slip-note" }, words.t("check.slip_note")),
    h("p", { class: "actions" }, h("button", { class: "main-action" }, words.t("check.confirm")), way()),
  );
  panel.show(null, form);
  field.focus({ preventScroll: true });
}

/** The first evidence of a kind: of a new session, or of one that wants another proof. */
async function start(attester: string, evidence: Record<string, string>, more: boolean): Promise<void> {
  const answer = more
    ? await post("/sessions/next", { attester, evidence })
    : await post("/sessions", { scope: page.scope, attester, evidence, return_path: returnPath });
  if (answer.session !== undefined) [bearer, given] = [answer.session, []];
  given.push(attester);
  await goOn(answer);
}

async function confirm(code: string): Promise<void> {
  await goOn(await post("/sessions/evidence", { code }));
}

async function goOn(answer: Answer): Promise<void> {
  if (answer.page !== undefined) {
    keep([bearer, ...given]);
    location.assign(answer.page);
    return;
  }
  if (answer.state === "partial") {
    const wanted = (answer.wanted ?? []).filter((kind) => page.attesters.includes(kind));
    const buttons = wanted.map((kind) => h("li", {}, panel.button(how(kind), () => ask(kind, true))));
    panel.show(words.t("check.more"), h("ul", { class: "pledges" }, ...buttons));
  } else if (answer.state === "proved") {
    const check = given.find((kind) => !NEW_EACH_TIME.includes(kind) && !page.returning.includes(kind));
    if (page.returning.length && check !== undefined) offerAccount(check);
    else leave();
  }
}

/** Who has just been checked may make a passkey, to come back with. */
function offerAccount(check: string): void {
  const make = panel.button(words.t("check.remember_make"), async () => {
    const answer = await post("/sessions/account", { check });
    const open = { href: answer.page ?? "", target: "_blank", rel: "noreferrer" };
    panel.show(
      words.t("check.remember"),
      h("p", {}, h("a", open, words.t("check.remember_open"))),
      h("p", { class: "actions" }, panel.button(words.t("check.remember_done"), leave, "main-action")),
    );
  });
  panel.show(
    words.t("check.remember"),
    h("p", {}, words.t("check.remember_lead")),
    h("p", { class: "actions" }, panel.button(words.t("check.remember_go"), leave, "main-action"), make),
  );
}

function leave(): void {
  keep([]);
  panel.wait(words.t("check.done", { site: nameOf(site) }));
  location.replace(
    withFragment(site + returnPath, { session: bearer, issuer: page.issuer, state: sent.get("state") ?? "" }),
  );
}

async function post(path: string, body: object): Promise<Answer> {
  const headers: Record<string, string> = { "Content-Type": "application/json", "Headcount-Site": site };
  if (bearer && path !== "/sessions") headers["Authorization"] = `Bearer ${bearer}`;
  let answer: Response;
  let value: Answer & { code?: string };
  try {
    answer = await fetch(path, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
      credentials: "omit",
      redirect: "error",
      cache: "no-store",
    });
    value = (await answer.json()) as Answer & { code?: string };
  } catch {
    throw new Refusal("unavailable"); // a browser says TypeError, as it does of a bug
  }
  if (!answer.ok) throw new Refusal(value.code ?? "unavailable");
  return value;
}

/** The proof of work that an issuer may ask for before it sends a mail. */
async function work(attester: string): Promise<Record<string, string>> {
  const answer = await post("/sessions/challenge", { scope: page.scope, attester });
  return answer.work === undefined ? {} : { work: await solveWork(answer.work, pause) };
}

/** Begin with the work when somebody begins to type: it is done when the address is. */
function solveAhead(): void {
  if (ahead !== undefined && Date.now() < ahead.until) return;
  // Where it fails the button tries again, and says what is wrong: not every letter.
  ahead = { work: work("email").catch(() => undefined), until: Date.now() + WORK_MS };
}

/** The work that was begun, which serves once, else new work. */
async function solved(): Promise<Record<string, string>> {
  const begun = ahead;
  ahead = undefined;
  const done = begun !== undefined && Date.now() < begun.until ? await begun.work : undefined;
  return done ?? work("email");
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** The way back without a proof. */
function way(): HTMLElement {
  const href = withFragment(site + returnPath, { cancelled: page.issuer });
  return h("a", { href, rel: "noreferrer" }, words.t("check.back", { site: nameOf(site) }));
}

function how(kind: string): string {
  const key = `how.${kind}`;
  return words.has(key) ? words.t(key) : kind;
}

/** The same as one of several ways. */
function choice(kind: string): string {
  return page.returning.includes(kind) ? words.t("check.returning") : how(kind);
}

function nameOf(origin: string): string {
  return origin.replace(/^https?:\/\//, "");
}

/** Digits as the issuer reads them, whichever a keyboard writes. */
function latin(text: string): string {
  return text.replace(/[\u0660-\u0669\u06f0-\u06f9]/g, (digit) => String(digit.charCodeAt(0) & 15)).replace(/\s/g, "");
}

/** The code of another page serves once: a reload must not type it again. */
function dropCode(): void {
  const rest = Object.fromEntries([...sent].filter(([name]) => name !== "code"));
  history.replaceState(null, "", withFragment(location.pathname, rest));
}

function keep(session: string[]): void {
  try {
    if (session.length) sessionStorage.setItem(KEPT, session.join(" "));
    else sessionStorage.removeItem(KEPT);
  } catch {
    // Without storage the page's code is typed where the page ends.
  }
}

function recall(): [string, ...string[]] {
  try {
    const [session = "", ...kinds] = (sessionStorage.getItem(KEPT) ?? "").split(" ");
    return [session, ...kinds];
  } catch {
    return [""];
  }
}

if (sent.has("code")) dropCode();
begin();
