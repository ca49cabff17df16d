/**
 * What a function makes, or an error when that takes too long; what comes too late is given away.
 * @param timeout milliseconds
 */
export async function createdWithin<T> (timeout: number, create: () => T | Promise<T>, onlate: (created: T) => unknown): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  let late = false
  const over = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      late = true
      reject(new Error(`createServer took longer than ${timeout} ms`))
    }, timeout).unref()
  })
  // a function that throws at once rejects
  const created = (async () => await create())()
  created.then(value => late ? onlate(value) : undefined).catch(() => {})
  try {
    return await Promise.race([created, over])
  } finally {
    clearTimeout(timer)
  }
}
