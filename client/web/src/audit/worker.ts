// The worker of a page's audit.
import "../protocol/fallbacks.ts";
import { serve } from "./scanner.ts";

serve(
  (take) => void addEventListener("message", (event: MessageEvent) => take(event.data)),
  (said, transfer) => postMessage(said, { transfer }),
);
