import { SettingError } from '../settings.js'

/** `${…}`, or `$${…}`, which stands for itself. */
const PLACE = /\$(\$?)\{([^{}]*)\}/g
/** `env:NAME`, `NAME`, each with `:-` and what to take where it is not set. */
const VARIABLE = /^(?:env:)?([A-Za-z_]\w*)(?::-(.*))?$/s

/**
 * Puts variables of the environment in the places of a text. `where` is what an error calls the text.
 * @throws SettingError that names the variable which is not set, and no value
 */
export function fillIn (text: string, environment: NodeJS.ProcessEnv, where: string): string {
  return text.replaceAll(PLACE, (place, escaped: string, inner: string) => {
    if (escaped !== '') return place.slice(1)
    const [, name, otherwise] = VARIABLE.exec(inner) ?? []
    if (name === undefined) throw new SettingError(`${where}: ${place} is no variable: write \${NAME} or \${env:NAME}, and $${place} for the text itself`)
    const value = environment[name] ?? otherwise
    if (value === undefined) throw new SettingError(`${where}: the variable ${name} is not set`)
    return value
  })
}
