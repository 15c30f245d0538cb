/** Elements, made without parsing HTML: nothing that a server or a file says becomes markup. */

export type Child = Node | string | null | undefined | false;
type Values = Record<string, string | boolean | ((event: Event) => void)>;

/** An element. Functions are listeners, `true` and `false` are attributes that stand or do not. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  values: Values = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  set(element, values);
  put(element, children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** An element of a drawing. */
export function svg(tag: string, values: Values = {}, ...children: Child[]): SVGElement {
  const element = document.createElementNS(SVG, tag);
  set(element, values);
  put(element, children);
  return element;
}

function set(element: Element, values: Values): void {
  for (const [name, value] of Object.entries(values)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (typeof value === "string") element.setAttribute(name, value);
    else if (value) element.setAttribute(name, "");
  }
}

function put(element: Element, children: Child[]): void {
  for (const child of children) if (child) element.append(child);
}

/** The element with this id, which the page has. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page lacks ${id}`);
  return found;
}

/** What the page's server has written into it as JSON. */
export function data<T>(id: string): T {
  return JSON.parse(byId(id).textContent ?? "") as T;
}

/** Offer bytes as a file to be kept. */
export function download(name: string, bytes: Uint8Array<ArrayBuffer>, type: string): void {
  const url = URL.createObjectURL(new Blob([bytes], { type }));
  const link = h("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Do this when the browser has nothing else to do: the picture that was asked for is then on the screen. */
export function atRest(act: () => unknown): void {
  const idle = (globalThis as { requestIdleCallback?: (act: () => unknown, how: { timeout: number }) => void }).requestIdleCallback;
  if (idle === undefined) setTimeout(act, 100); // Safari
  else idle(act, { timeout: 500 });
}

/** Do this when the next picture of the page is on the screen, or soon where nothing is drawn. */
export function afterPaint(act: () => void): void {
  const timer = setTimeout(act, 500);
  requestAnimationFrame(() => {
    clearTimeout(timer);
    setTimeout(act);
  });
}
