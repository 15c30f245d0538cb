/** QR codes (ISO/IEC 18004), byte mode, error correction level L: what another device's camera reads from a screen. */

// By version, from 1: codewords of error correction in a block, and blocks. ISO/IEC 18004, table 9, level L.
const CORRECTION = [
  7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28, 28, 28, 30, 30, 26, 28, 30, 30, 30, 30, 30,
  30, 30, 30, 30, 30, 30, 30, 30, 30,
];
const BLOCKS = [
  1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8, 8, 9, 9, 10, 12, 12, 12, 13, 14, 15, 16, 17, 18, 19, 19, 20, 21,
  22, 24, 25,
];
const MASKS: ((x: number, y: number) => boolean)[] = [
  (x, y) => (x + y) % 2 === 0,
  (_, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

type Grid = boolean[][];

/** The dark modules of bytes, row by row. A mask is chosen by the standard's penalties unless one is given. */
export function qr(data: Uint8Array, mask?: number): Grid {
  const version = smallest(data.length);
  const bits = interleave(codewords(data, version), version);
  const size = 17 + 4 * version;
  const fixed: Grid = Array.from({ length: size }, () => new Array<boolean>(size).fill(false));
  const grid: Grid = fixed.map((row) => [...row]);
  drawPatterns(grid, fixed, version);
  drawData(grid, fixed, bits);
  const chosen = mask ?? leastPenalty(grid, fixed);
  apply(grid, fixed, chosen);
  drawFormat(grid, fixed, chosen);
  return grid;
}

/** A path of the dark modules, for an SVG of size + 8 units with the quiet zone. */
export function qrPath(grid: Grid): string {
  return grid.map((row, y) => row.map((dark, x) => (dark ? `M${x + 4} ${y + 4}h1v1h-1z` : "")).join("")).join("");
}

function smallest(length: number): number {
  for (let version = 1; version <= 40; version++) {
    if (4 + countBits(version) + 8 * length <= 8 * dataCodewords(version)) return version;
  }
  throw new RangeError("too long for a QR code");
}

function countBits(version: number): number {
  return version < 10 ? 8 : 16;
}

function rawModules(version: number): number {
  let modules = (16 * version + 128) * version + 64;
  if (version >= 2) {
    const places = Math.floor(version / 7) + 2;
    modules -= (25 * places - 10) * places - 55;
    if (version >= 7) modules -= 36;
  }
  return modules;
}

function dataCodewords(version: number): number {
  return Math.floor(rawModules(version) / 8) - CORRECTION[version - 1]! * BLOCKS[version - 1]!;
}

function codewords(data: Uint8Array, version: number): number[] {
  const bits: number[] = [];
  const put = (value: number, length: number): void => {
    for (let i = length - 1; i >= 0; i--) bits.push((value >>> i) & 1);
  };
  put(0b0100, 4);
  put(data.length, countBits(version));
  for (const byte of data) put(byte, 8);
  const capacity = 8 * dataCodewords(version);
  put(0, Math.min(4, capacity - bits.length));
  put(0, (8 - (bits.length % 8)) % 8);
  for (let pad = 0xec; bits.length < capacity; pad ^= 0xec ^ 0x11) put(pad, 8);
  return Array.from({ length: capacity / 8 }, (_, i) => parseInt(bits.slice(8 * i, 8 * i + 8).join(""), 2));
}

function interleave(data: number[], version: number): number[] {
  const blocks = BLOCKS[version - 1]!;
  const correction = CORRECTION[version - 1]!;
  const all = Math.floor(rawModules(version) / 8);
  const short = blocks - (all % blocks);
  const length = Math.floor(all / blocks) - correction;
  const parts: number[][] = [];
  const corrections: number[][] = [];
  const divisor = generator(correction);
  for (let i = 0, at = 0; i < blocks; i++) {
    const part = data.slice(at, (at += length + (i < short ? 0 : 1)));
    parts.push(part);
    corrections.push(remainder(part, divisor));
  }
  const out: number[] = [];
  for (let i = 0; i <= length; i++) for (const part of parts) if (i < part.length) out.push(part[i]!);
  for (let i = 0; i < correction; i++) for (const part of corrections) out.push(part[i]!);
  return out;
}

function multiply(x: number, y: number): number {
  let z = 0;
  for (let i = 7; i >= 0; i--) z = (z << 1) ^ ((z >>> 7) * 0x11d) ^ (((y >>> i) & 1) * x);
  return z;
}

function generator(degree: number): number[] {
  const result = new Array<number>(degree).fill(0);
  result[degree - 1] = 1;
  for (let i = 0, root = 1; i < degree; i++, root = multiply(root, 2)) {
    for (let j = 0; j < degree; j++) result[j] = multiply(result[j]!, root) ^ (result[j + 1] ?? 0);
  }
  return result;
}

function remainder(data: number[], divisor: number[]): number[] {
  const result = divisor.map(() => 0);
  for (const byte of data) {
    const factor = byte ^ result.shift()!;
    result.push(0);
    divisor.forEach((value, i) => (result[i]! ^= multiply(value, factor)));
  }
  return result;
}

function drawPatterns(grid: Grid, fixed: Grid, version: number): void {
  const size = grid.length;
  const set = (x: number, y: number, dark: boolean): void => {
    if (x < 0 || y < 0 || x >= size || y >= size) return;
    grid[y]![x] = dark;
    fixed[y]![x] = true;
  };
  for (let i = 0; i < size; i++) {
    set(6, i, i % 2 === 0);
    set(i, 6, i % 2 === 0);
  }
  for (const [cx, cy] of [[3, 3], [size - 4, 3], [3, size - 4]] as const) {
    for (let dy = -4; dy <= 4; dy++) {
      for (let dx = -4; dx <= 4; dx++) {
        const reach = Math.max(Math.abs(dx), Math.abs(dy));
        set(cx + dx, cy + dy, reach !== 2 && reach !== 4);
      }
    }
  }
  const places = alignment(version, size);
  const last = places.length - 1;
  places.forEach((x, i) =>
    places.forEach((y, j) => {
      if ((i === 0 && j === 0) || (i === 0 && j === last) || (i === last && j === 0)) return;
      for (let dy = -2; dy <= 2; dy++) {
        for (let dx = -2; dx <= 2; dx++) set(x + dx, y + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
      }
    }),
  );
  drawFormat(grid, fixed, 0);
  if (version < 7) return;
  let rest = version;
  for (let i = 0; i < 12; i++) rest = (rest << 1) ^ ((rest >>> 11) * 0x1f25);
  const bits = (version << 12) | rest;
  for (let i = 0; i < 18; i++) {
    const [a, b, dark] = [size - 11 + (i % 3), Math.floor(i / 3), ((bits >>> i) & 1) === 1];
    set(a, b, dark);
    set(b, a, dark);
  }
}

function alignment(version: number, size: number): number[] {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const step = version === 32 ? 26 : Math.ceil((version * 4 + 4) / (count * 2 - 2)) * 2;
  const places = Array.from({ length: count - 1 }, (_, i) => size - 7 - i * step);
  return [6, ...places.reverse()];
}

function drawFormat(grid: Grid, fixed: Grid, mask: number): void {
  const size = grid.length;
  const data = (0b01 << 3) | mask; // level L
  let rest = data;
  for (let i = 0; i < 10; i++) rest = (rest << 1) ^ ((rest >>> 9) * 0x537);
  const bits = ((data << 10) | rest) ^ 0x5412;
  const set = (x: number, y: number, i: number): void => {
    grid[y]![x] = i < 0 || ((bits >>> i) & 1) === 1;
    fixed[y]![x] = true;
  };
  for (let i = 0; i <= 5; i++) set(8, i, i);
  set(8, 7, 6);
  set(8, 8, 7);
  set(7, 8, 8);
  for (let i = 9; i < 15; i++) set(14 - i, 8, i);
  for (let i = 0; i < 8; i++) set(size - 1 - i, 8, i);
  for (let i = 8; i < 15; i++) set(8, size - 15 + i, i);
  set(8, size - 8, -1);
}

function drawData(grid: Grid, fixed: Grid, data: number[]): void {
  const size = grid.length;
  let i = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step++) {
      for (const x of [right, right - 1]) {
        const y = ((right + 1) & 2) === 0 ? size - 1 - step : step;
        if (fixed[y]![x]) continue;
        grid[y]![x] = (((data[i >>> 3] ?? 0) >>> (7 - (i & 7))) & 1) === 1;
        i++;
      }
    }
  }
}

function apply(grid: Grid, fixed: Grid, mask: number): void {
  const inverts = MASKS[mask]!;
  grid.forEach((row, y) => row.forEach((dark, x) => !fixed[y]![x] && inverts(x, y) && (row[x] = !dark)));
}

function leastPenalty(grid: Grid, fixed: Grid): number {
  let best = 0;
  let least = Infinity;
  for (let mask = 0; mask < 8; mask++) {
    apply(grid, fixed, mask);
    drawFormat(grid, fixed, mask);
    const found = penalty(grid);
    if (found < least) [best, least] = [mask, found];
    apply(grid, fixed, mask);
  }
  return best;
}

function penalty(grid: Grid): number {
  const size = grid.length;
  let total = 0;
  let dark = 0;
  const columns = grid.map((_, x) => grid.map((row) => row[x]!));
  for (const line of [...grid, ...columns]) {
    const text = line.map(Number).join("");
    for (const run of text.match(/0{5,}|1{5,}/g) ?? []) total += run.length - 2;
    for (let i = 0; i + 11 <= size; i++) {
      const part = text.slice(i, i + 11);
      if (part === "10111010000" || part === "00001011101") total += 40;
    }
  }
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const here = grid[y]![x]!;
      if (here) dark++;
      if (here === grid[y]![x + 1] && here === grid[y + 1]?.[x] && here === grid[y + 1]?.[x + 1]) total += 3;
    }
  }
  return total + 10 * Math.floor(Math.abs((100 * dark) / (size * size) - 50) / 5);
}
