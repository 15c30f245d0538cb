import { resolve } from "node:path";
import { defineConfig, type Plugin } from "vite";
import { checkCatalogues, checkTemplates, readCatalogues } from "./messages.ts";

// The pages: signing and audit, with the worker and what they share. Paths are relative, so that a
// node may serve them under any prefix and a mirror from a folder. build.mjs runs this once for each page,
// so that what a page needs to begin is one file and not a share of several, and once in mode "counter" for the one file
// that other sites embed.
const root = import.meta.dirname;
const out = process.env.HEADCOUNT_WEB_OUT ?? resolve(root, "../headcount/web");

/** The counter says the code of an error in the reader's language: the sentences of ours would be a tenth of it. */
const withoutSentences: Plugin = {
  name: "without-sentences",
  enforce: "pre",
  transform(code, id) {
    if (!id.endsWith(".ts")) return null;
    return code.replace(/new (\w+Error)\(\s*(?:"[^"]*"|`[^`]*`)\s*([,)])/g, 'new $1(""$2');
  },
};

// What a counter on a stranger's page says, a file for each language beside it.
const COUNTER = /^(?:count\.of|counter\.|level\.|quotas\.standing)/;

function messages(mode: string): Plugin {
  return {
    name: "messages",
    buildStart() {
      const catalogues = readCatalogues();
      checkCatalogues(catalogues);
      checkTemplates(catalogues["en"]!);
      if (mode !== "counter") return;
      for (const [language, words] of Object.entries(catalogues)) {
        const picked = Object.fromEntries(Object.entries(words).filter(([key]) => COUNTER.test(key)));
        this.emitFile({ type: "asset", fileName: `counter/${language}.json`, source: `${JSON.stringify(picked)}\n` });
      }
    },
  };
}

export default defineConfig(({ mode }) => ({
  root,
  base: "./",
  worker: { format: "es" },
  plugins: mode === "counter" ? [messages(mode), withoutSentences] : [messages(mode)],
  build: {
    outDir: out,
    emptyOutDir: mode === "sign", // the first
    target: ["es2022", "chrome105", "firefox113", "safari16.4"],
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the CSP allows no data: URL
    sourcemap: false,
    reportCompressedSize: false,
    ...(mode === "counter"
      ? {
          // Not lib mode, which leaves the spaces in.
          rollupOptions: {
            input: { "headcount-counter": resolve(root, "src/counter/element.ts") },
            output: { entryFileNames: "[name].js" },
          },
        }
      : {
          rollupOptions: {
            // The pages' HTML is the node's, rendered for readers without script; these are what it names.
            input: {
              [mode]: resolve(root, `src/pages/${mode}.ts`),
              ...(mode === "sign" ? { headcount: resolve(root, "src/styles/headcount.css") } : {}),
            },
            output: { entryFileNames: "assets/[name]-[hash].js" },
          },
        }),
  },
}));
