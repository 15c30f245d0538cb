import { parentPort } from "node:worker_threads";
import { serve, type Told } from "../src/audit/scanner.ts";
import "../src/protocol/fallbacks.ts";

serve(
  (take) => void parentPort!.on("message", (told: Told) => take(told)),
  (said, transfer) => parentPort!.postMessage(said, transfer),
);
