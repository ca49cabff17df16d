/** A JSON object, and neither `null` nor an array. */
export function isObject (value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}
