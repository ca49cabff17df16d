import { editText, textAt } from './raw-json.js'

/** What tasks are called among the extensions of revision 2026-07-28. */
export const TASKS_EXTENSION = 'io.modelcontextprotocol/tasks'

/**
 * Capabilities, as JSON text, without tasks: they exist on both sides of 2026-07-28, but not as the same thing (an
 * experiment of 2025-11-25, an extension since), so neither side may count on those of the other. All else keeps its bytes.
 */
export function withholdTasks (capabilities: string): string {
  const rest = textAt(capabilities, ['tasks']) === undefined ? capabilities : editText(capabilities, [], { tasks: undefined })
  if (textAt(rest, ['extensions', TASKS_EXTENSION]) === undefined) return rest
  const without = editText(rest, ['extensions'], { [TASKS_EXTENSION]: undefined })
  return textAt(without, ['extensions']) === '{}' ? editText(rest, [], { extensions: undefined }) : without
}
