/**
 * The signing page. Every step is kept before the next begins, so that a reload, the back button, another tab or a lost
 * connection finds the pledge where it was; where the browser keeps nothing, it goes on in one tab.
 */
import "../protocol/fallbacks.ts";
import { Flow } from "./signing/flow.ts";

const flow = new Flow();
void flow.begin();
