/** Small numbers without Intl, whose first use costs a slow telephone a tenth of a second. */

export const LOCALES: Readonly<Record<string, string>> = { ar: "ar-EG" }; // whose digits are those of the script

/** A whole number below 1000, in which none of our languages has a separator; undefined for others. */
export function smallNumber(value: number, locale: string): string | undefined {
  if (!Number.isInteger(value) || value < 0 || value >= 1000 || Object.is(value, -0)) return undefined;
  const text = String(value);
  if (locale !== LOCALES["ar"]) return text;
  return text.replace(/\d/g, (digit) => String.fromCharCode(0x660 + Number(digit)));
}
